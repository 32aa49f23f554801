"""Everything that the template describes, running in one event loop."""

import asyncio
import contextlib
import errno
import functools
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from local_stack import template as templates
from local_stack.bedrock import BedrockServer
from local_stack.bedrock import serve as serve_bedrock
from local_stack.bedrock.documents import KNOWLEDGE_BASE, Documents
from local_stack.control import ISSUER, PREFIX, Control
from local_stack.dynamodb.server import DynamoDB, create_elsewhere
from local_stack.entry_points.api_gateway import HttpApiDoor, RestApiDoor
from local_stack.entry_points.cloudfront import CloudFront
from local_stack.entry_points.function_url import FunctionUrl
from local_stack.entry_points.static_files import Pages
from local_stack.http import Handler, Request, Responder, port_of, serve
from local_stack.identity.certificates import Authority
from local_stack.identity.issuer import AUDIENCE, Issuer
from local_stack.intrinsics import TemplateError
from local_stack.lambda_service import invoke_api, sandbox
from local_stack.lambda_service.concurrency import ACCOUNT_LIMIT, shares
from local_stack.lambda_service.environment import Environment, Watchdog
from local_stack.lambda_service.invoke_api import InvokeApi
from local_stack.lambda_service.pool import Pool
from local_stack.template import Function, Template

HOST = "127.0.0.1"


class PortInUse(Exception):
    """Another program listens on the port."""


@dataclass(frozen=True)
class Options:
    """`port` 0 takes free ports. `template` is the source or what `sam build` made of it.

    `bridge` is an address that containers reach: the stand-ins for Bedrock and DynamoDB listen there too.
    With `tls` functions reach these two and the Invoke API by TLS, as they reach AWS.
    With `ration_cpu` they have CPU time in proportion to their memory, as on Lambda.
    """

    template: Path
    web: Path
    port: int = 0
    real_bedrock: bool = False
    rest_streaming: bool = False
    auth: Literal["dev", "jwt", "iam"] = "dev"
    flags: Path | None = None
    prewarm: int = 1
    concurrency: int = ACCOUNT_LIMIT
    fault_rate: float = 0.0
    seed: int = 0
    documents: Path | None = None
    usual_delays: bool = False
    bridge: str | None = None
    tls: bool = False
    ration_cpu: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def _taken(port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        raise PortInUse(f"port {port} {reason}") from error


class Door:
    """A port that listens from the start, so that a busy one is found at once, and gets its handler later."""

    def __init__(self) -> None:
        self.handler: Handler | None = None
        self.port = 0
        self._scheme = "http"

    async def open(self, port: int, tls: ssl.SSLContext | None = None) -> asyncio.Server:
        """Raises PortInUse."""
        with _taken(port):
            server = await serve(self, HOST, port, tls)
        self.port, self._scheme = port_of(server), "https" if tls else "http"
        return server

    @property
    def url(self) -> str:
        return f"{self._scheme}://{HOST}:{self.port}"

    async def __call__(self, request: Request, responder: Responder) -> None:
        if self.handler:
            await self.handler(request, responder)
        else:
            await responder.send(503, [("retry-after", "1")], b"the stack is starting\n")


class Stack:
    """The parts that run, each on a port of its own."""

    def __init__(self, options: Options) -> None:
        self.pools: dict[str, Pool] = {}
        self.bedrock: BedrockServer | None = None
        self.table: DynamoDB | None = None
        self.issuer: Issuer | None = None
        self.invoke_api = InvokeApi(self.pools)
        self.web_host, self.function_url = Door(), Door()
        self.http_api, self.page, self.rest_api = Door(), Door(), Door()
        self.rest_url = ""
        self.has_web_host = False
        self._options = options
        self._guard = Watchdog()
        self._cleanup = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Raises PortInUse, TemplateError and NoCredentials; call `close` in every case."""
        self._cleanup.callback(self._guard.close)
        port = self._options.port
        await self._open(self.web_host, port)
        await self._open(self.function_url, port and port + 5)
        await self._open(self.http_api, port and port + 1)
        await self._open(self.page, port and port + 2)
        if self._options.auth == "jwt":
            self.issuer = Issuer(f"{self.page.url}{PREFIX}{ISSUER}".rstrip("/"))
        template = templates.read(self._options.template, self._parameters())
        self._make_pools(template, await self._services(template))
        await self._open_doors(template)
        await asyncio.gather(*(pool.prewarm(self._warm(pool.function)) for pool in self.pools.values()))

    async def close(self) -> None:
        await self._cleanup.aclose()

    def _parameters(self) -> dict[str, str]:
        """The parameters that are the laptop's own.

        One host, with its page on another origin too; REST, an issuer and documents by options. In mode dev the entry
        points are open as in mode jwt. In mode iam, the template's default, they check signatures, and no host is in
        front of them.
        """
        origins = ",".join(f"http://{name}:{self.page.port}" for name in ("127.0.0.1", "localhost"))
        rest = {"RestStreaming": "enabled"} if self._options.rest_streaming else {}
        tokens = {"JwtAudience": AUDIENCE, "JwtIssuer": self.issuer.url} if self.issuer else {}
        open_to_all = {"UrlAuthType": "NONE", "AuthMode": "jwt", "WebHost": "enabled", **tokens}
        auth = {} if self._options.auth == "iam" else open_to_all
        files = {"KnowledgeBaseId": KNOWLEDGE_BASE} if self._options.documents else {}
        own = {"AllowedOrigins": origins, **rest, **auth, **files}
        return own | dict(self._options.parameters)

    def _warm(self, function: Function) -> int:
        """Environments to start with: as many as asked for behind the Function URL, one for others."""
        return self._options.prewarm if function.has_url else min(1, self._options.prewarm)

    async def _open(self, door: Door, port: int, tls: ssl.SSLContext | None = None) -> None:
        server = await door.open(port, tls)
        self._cleanup.callback(server.close)

    async def _services(self, template: Template) -> dict[str, str]:
        """Start the stand-ins that the caller has not replaced; the variables by which functions find them."""
        options, own = self._options, sandbox.own_endpoints()
        port, endpoints = options.port, dict[str, str]()
        authority = Authority(self._guard.folder, [HOST]) if options.tls else None
        tls = authority.server_context() if authority else None
        if not options.real_bedrock and "AWS_ENDPOINT_URL_BEDROCK_RUNTIME" not in own:
            at = port and port + 3  # events/env.json names this one and the next
            with _taken(at):
                documents = Documents(options.documents)
                self.bedrock = await serve_bedrock(
                    HOST,
                    at,
                    bridge=options.bridge,
                    fault_rate=options.fault_rate,
                    seed=options.seed,
                    documents=documents,
                    usual_delays=options.usual_delays,
                    tls=tls,
                )
            self._cleanup.push_async_callback(self.bedrock.close)
            endpoints |= dict.fromkeys(("BEDROCK_RUNTIME", "BEDROCK_AGENT_RUNTIME"), self.bedrock.url)
        credentials = sandbox.own_credentials() if options.real_bedrock else sandbox.FAKE_CREDENTIALS
        if "AWS_ENDPOINT_URL_DYNAMODB" in own:
            elsewhere = own["AWS_ENDPOINT_URL_DYNAMODB"]
            await asyncio.to_thread(create_elsewhere, template.tables, elsewhere, credentials)
        else:
            self.table = DynamoDB()
            at = port and port + 4
            with _taken(at):
                self.table.start(at, options.bridge, tls)
            self._cleanup.callback(self.table.stop)
            endpoints["DYNAMODB"] = self.table.url
            for table in template.tables:
                self.table.create_table(dict(table))
        lambda_door = Door()
        lambda_door.handler = self.invoke_api
        await self._open(lambda_door, 0, tls)
        endpoints["LAMBDA"] = lambda_door.url
        more = {"FLAGS_FILE": str(options.flags.resolve())} if options.flags else {}
        if authority:
            more["AWS_CA_BUNDLE"] = str(authority.bundle)
        return sandbox.service_variables(endpoints, credentials, options.auth) | more

    def _make_pools(self, template: Template, variables: Mapping[str, str]) -> None:
        concurrency = shares(template.functions.values(), self._options.concurrency)
        for name, function in template.functions.items():
            # The stand-ins take any credentials: by their session token they know who calls (see calls.py).
            token = {} if self._options.real_bedrock else {"AWS_SESSION_TOKEN": name}
            box = sandbox.build(function, self._guard.folder / name, {**variables, **token})
            made = functools.partial(Environment, function, box, self._guard, rationed=self._options.ration_cpu)
            pool = Pool(function, made, concurrency[name])
            self._cleanup.push_async_callback(pool.close)
            self.pools[name] = pool

    async def _open_doors(self, template: Template) -> None:
        streaming = [pool for pool in self.pools.values() if pool.function.has_url]
        if len(streaming) != 1:
            raise TemplateError("the laptop serves one Function URL; the template must have exactly one")
        self.function_url.handler = FunctionUrl(streaming[0])
        token_url = f"{PREFIX}token" if self.issuer else None
        control = Control(self.pools, self.invoke_api, self.bedrock, self.table, self.issuer)
        if template.http_api:
            self.http_api.handler = HttpApiDoor(template.http_api, self.pools)
        self.has_web_host = template.distribution is not None
        if template.distribution:
            behind: dict[str, Handler] = {
                streaming[0].function.name: self.function_url,
                "HttpApi": self.http_api,
                "WebBucket": Pages(
                    self._options.web, "/", "/", token_url, listed="WebBucket" in template.listed_buckets
                ),
            }
            self.web_host.handler = _beside({PREFIX: control}, CloudFront(template.distribution, behind))
        else:
            self.web_host.handler = _beside({PREFIX: control}, _no_web_host)
        if template.rest_api:
            self.rest_api.handler = RestApiDoor(template.rest_api, self.pools)
            await self._open(self.rest_api, 0)
            self.rest_url = f"{self.rest_api.url}/{template.rest_api.stage}"
        pages = Pages(self._options.web, self.function_url.url, self.http_api.url, token_url)
        self.page.handler = _beside({PREFIX: control, invoke_api.PREFIX: self.invoke_api}, pages)


async def _no_web_host(_: Request, responder: Responder) -> None:
    await responder.send(404, [("content-type", "text/plain")], b"WebHost is disabled.\n")


def _beside(own: Mapping[str, Handler], pages: Handler) -> Handler:
    """`pages`, with handlers of the stack's own for paths that begin with their keys."""

    async def both(request: Request, responder: Responder) -> None:
        handler = next((each for prefix, each in own.items() if request.path.startswith(prefix)), pages)
        await handler(request, responder)

    return both
