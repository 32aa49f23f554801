"""The local stack's Lambda emulator and entry points on free ports, for the small system in local_lambda/."""

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
class EntryPoints:
    """Base URLs of the web host and the four other entry points, and the pools and Invoke API behind them."""

    host: str
    url: str
    gateway: str
    rest: str
    invoke: str
    pools: dict[str, Pool]
    invoke_api: InvokeApi


@asynccontextmanager
async def entry_points(
    *, gateway_seconds: float = 30, account: int = ACCOUNT_LIMIT, rationed: bool = False, **changes: Any
) -> AsyncIterator[EntryPoints]:
    """Yields the system with `changes` to every function's settings (timeout, reserved_concurrency...).

    `account` is the concurrency of the account; `rationed` limits CPU time in proportion to memory.
    """
    template = read(SYSTEM / "template.yaml")
    assert template.http_api
    assert template.rest_api
    assert template.distribution
    guard = Watchdog()
    pools = _pools(template, guard, changes, account, rationed=rationed)
    invoke_api = InvokeApi(pools, retry_seconds=(0, 0), throttled_seconds=0.01)
    function_url = FunctionUrl(pools["Scripted"])
    http_api = HttpApiServer(template.http_api, pools, gateway_seconds)
    files = StaticFiles(SYSTEM / "web", "/", "/", listed="Files" in template.listed_buckets)
    handlers: list[Handler] = [
        CloudFront(template.distribution, {"Scripted": function_url, "Api": http_api, "Files": files}),
        function_url,
        http_api,
        RestApiServer(template.rest_api, pools),
        invoke_api,
    ]
    servers = [await serve(handler, "127.0.0.1", 0) for handler in handlers]
    host, url, gateway, rest, invoke = (f"http://127.0.0.1:{port_of(server)}" for server in servers)
    try:
        yield EntryPoints(host, url, gateway, f"{rest}/live", invoke, pools, invoke_api)
    finally:
        for server in servers:
            server.close()
        await asyncio.gather(*(pool.close() for pool in pools.values()))
        guard.close()


def _pools(
    template: Template, guard: Watchdog, changes: dict[str, Any], account: int, *, rationed: bool
) -> dict[str, Pool]:
    pools: dict[str, Pool] = {}
    changed_functions = [dataclasses.replace(function, **changes) for function in template.functions.values()]
    concurrency = allocate(changed_functions, account)
    for function in changed_functions:
        name = function.name
        box = sandbox.build(function, guard.folder / name, sandbox.service_variables({"LAMBDA": "http://lambda"}))
        start = functools.partial(Environment, function, box, guard, rationed=rationed)
        pools[name] = Pool(function, start, concurrency[name])
    return pools


async def eventually(condition: Callable[[], bool]) -> None:
    """Waits until `condition()` is true. Fails after 15 s."""
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, "the condition is not true in time"
        await asyncio.sleep(0.01)
