"""The laptop's Lambda side on free ports, for the small system in local_lambda/."""

import asyncio
import dataclasses
import functools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_stack.entry_points.api_gateway import HttpApiServer, RestApiServer
from local_stack.entry_points.cloudfront import CloudFront
from local_stack.entry_points.function_url import FunctionUrl
from local_stack.entry_points.static_files import StaticFiles
from local_stack.http import Handler, port_of, serve
from local_stack.lambda_service import sandbox
from local_stack.lambda_service.concurrency import ACCOUNT_LIMIT, allocate
from local_stack.lambda_service.environment import Environment, Watchdog
from local_stack.lambda_service.invoke_api import InvokeApi
from local_stack.lambda_service.pool import Pool
from local_stack.template import Template, read

SYSTEM = Path(__file__).parent / "local_lambda"


@dataclass(frozen=True)
class Doors:
    """Base URLs of the one host and of the four doors, and what is behind them."""

    host: str
    url: str
    gateway: str
    rest: str
    invoke: str
    pools: dict[str, Pool]
    invoke_api: InvokeApi


@asynccontextmanager
async def doors(
    *, gateway_seconds: float = 30, account: int = ACCOUNT_LIMIT, rationed: bool = False, **changes: Any
) -> AsyncIterator[Doors]:
    """The system with `changes` to every function's settings (timeout, reserved_concurrency...).

    `account` is the concurrency of them all; `rationed` gives them CPU time by their memory.
    """
    template = read(SYSTEM / "template.yaml")
    assert template.http_api
    assert template.rest_api
    assert template.distribution
    guard = Watchdog()
    pools = _pools(template, guard, changes, account, rationed=rationed)
    invoke_api = InvokeApi(pools, retry_seconds=(0, 0), throttled_seconds=0.01)
    url_door = FunctionUrl(pools["Scripted"])
    api_door = HttpApiServer(template.http_api, pools, gateway_seconds)
    files = StaticFiles(SYSTEM / "web", "/", "/", listed="Files" in template.listed_buckets)
    handlers: list[Handler] = [
        CloudFront(template.distribution, {"Scripted": url_door, "Api": api_door, "Files": files}),
        url_door,
        api_door,
        RestApiServer(template.rest_api, pools),
        invoke_api,
    ]
    servers = [await serve(handler, "127.0.0.1", 0) for handler in handlers]
    host, url, gateway, rest, invoke = (f"http://127.0.0.1:{port_of(server)}" for server in servers)
    try:
        yield Doors(host, url, gateway, f"{rest}/live", invoke, pools, invoke_api)
    finally:
        for server in servers:
            server.close()
        await asyncio.gather(*(pool.close() for pool in pools.values()))
        guard.close()


def _pools(
    template: Template, guard: Watchdog, changes: dict[str, Any], account: int, *, rationed: bool
) -> dict[str, Pool]:
    pools: dict[str, Pool] = {}
    changed_functions = [dataclasses.replace(each, **changes) for each in template.functions.values()]
    concurrency = allocate(changed_functions, account)
    for changed in changed_functions:
        name = changed.name
        box = sandbox.build(changed, guard.folder / name, sandbox.service_variables({"LAMBDA": "http://lambda"}))
        made = functools.partial(Environment, changed, box, guard, rationed=rationed)
        pools[name] = Pool(changed, made, concurrency[name])
    return pools


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until `holds()`, for at most 15 s."""
    deadline = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.01)
