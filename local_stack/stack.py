"""Starts and stops all servers of the local stack, in one event loop."""

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
from local_stack.dynamodb.server import DynamoDB, create_tables_at
from local_stack.entry_points.api_gateway import HttpApiServer, RestApiServer
from local_stack.entry_points.cloudfront import CloudFront
from local_stack.entry_points.function_url import FunctionUrl
from local_stack.entry_points.static_files import StaticFiles
from local_stack.http import Handler, Request, Responder, port_of, serve
from local_stack.identity.certificates import Authority
from local_stack.identity.issuer import AUDIENCE, Issuer
from local_stack.intrinsics import TemplateError
from local_stack.lambda_service import invoke_api, sandbox
from local_stack.lambda_service.concurrency import ACCOUNT_LIMIT, allocate
from local_stack.lambda_service.environment import Environment, Watchdog
from local_stack.lambda_service.invoke_api import InvokeApi
from local_stack.lambda_service.pool import Pool
from local_stack.template import Function, Template

HOST = "127.0.0.1"


class PortInUse(Exception):
    """The port is in use or cannot be used."""


@dataclass(frozen=True)
class Options:
    """Options of the command line.

    `port`: the first port; 0 uses free ports. `template`: template.yaml of the sources or of the output of `sam build`.
    `bridge`: a second address of the Bedrock and DynamoDB emulators, for containers.
    `tls`: functions call Bedrock, DynamoDB and the Invoke API over TLS.
    `ration_cpu`: functions get CPU time in proportion to their memory, as on Lambda.
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
def _port_errors(port: int) -> Iterator[None]:
    """Raises PortInUse instead of an OSError."""
    try:
        yield
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        raise PortInUse(f"port {port} {reason}") from error


class EntryPoint:
    """A server that listens before its handler is set.

    All ports are opened first, so that a port that is in use is an error at once. Without a handler the answer is 503.
    """

    def __init__(self) -> None:
        self.handler: Handler | None = None
        self.port = 0
        self._scheme = "http"

    async def open(self, port: int, tls: ssl.SSLContext | None = None) -> asyncio.Server:
        """Listen on `port`; 0 is any free port. Raises PortInUse."""
        with _port_errors(port):
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
    """The running local stack. Each server has its own port."""

    def __init__(self, options: Options) -> None:
        self.pools: dict[str, Pool] = {}
        self.bedrock: BedrockServer | None = None
        self.table: DynamoDB | None = None
        self.issuer: Issuer | None = None
        self.invoke_api = InvokeApi(self.pools)
        self.web_host, self.function_url = EntryPoint(), EntryPoint()
        self.http_api, self.page, self.rest_api = EntryPoint(), EntryPoint(), EntryPoint()
        self.rest_url = ""
        self.has_web_host = False
        self._options = options
        self._watchdog = Watchdog()
        self._cleanup = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Start everything. Raises PortInUse, TemplateError and NoCredentials. Call `close` also after an error."""
        self._cleanup.callback(self._watchdog.close)
        port = self._options.port
        await self._open(self.web_host, port)
        await self._open(self.function_url, port and port + 5)
        await self._open(self.http_api, port and port + 1)
        await self._open(self.page, port and port + 2)
        if self._options.auth == "jwt":
            self.issuer = Issuer(f"{self.page.url}{PREFIX}{ISSUER}".rstrip("/"))
        template = templates.read(self._options.template, self._parameters())
        self._create_pools(template, await self._start_services(template))
        await self._start_entry_points(template)
        await asyncio.gather(*(pool.prewarm(self._prewarm_count(pool.function)) for pool in self.pools.values()))

    async def close(self) -> None:
        await self._cleanup.aclose()

    def _parameters(self) -> dict[str, str]:
        """Return the template parameters of the local stack, overridden by those of the command line.

        The web host is enabled, and the origin of the demo page is allowed. The REST API, the issuer and the knowledge
        base depend on options. In the modes dev and jwt the entry points check no signatures. In mode iam, the
        template's default, they do, and there is no web host.
        """
        origins = ",".join(f"http://{name}:{self.page.port}" for name in ("127.0.0.1", "localhost"))
        rest = {"RestStreaming": "enabled"} if self._options.rest_streaming else {}
        tokens = {"JwtAudience": AUDIENCE, "JwtIssuer": self.issuer.url} if self.issuer else {}
        unsigned = {"UrlAuthType": "NONE", "AuthMode": "jwt", "WebHost": "enabled", **tokens}
        auth = {} if self._options.auth == "iam" else unsigned
        documents = {"KnowledgeBaseId": KNOWLEDGE_BASE} if self._options.documents else {}
        defaults = {"AllowedOrigins": origins, **rest, **auth, **documents}
        return defaults | dict(self._options.parameters)

    def _prewarm_count(self, function: Function) -> int:
        """Return how many environments to start: `prewarm` for the function with the URL, at most one for others."""
        return self._options.prewarm if function.has_url else min(1, self._options.prewarm)

    async def _open(self, entry_point: EntryPoint, port: int, tls: ssl.SSLContext | None = None) -> None:
        server = await entry_point.open(port, tls)
        self._cleanup.callback(server.close)

    async def _start_services(self, template: Template) -> dict[str, str]:
        """Start the emulators for which the user has set no endpoint. Returns the functions' variables for them."""
        options, user_endpoints = self._options, sandbox.user_endpoints()
        port, endpoints = options.port, dict[str, str]()
        authority = Authority(self._watchdog.folder, [HOST]) if options.tls else None
        tls = authority.server_context() if authority else None
        if not options.real_bedrock and "AWS_ENDPOINT_URL_BEDROCK_RUNTIME" not in user_endpoints:
            bedrock_port = port and port + 3  # events/env.json has this port and the next one
            with _port_errors(bedrock_port):
                documents = Documents(options.documents)
                self.bedrock = await serve_bedrock(
                    HOST,
                    bedrock_port,
                    bridge=options.bridge,
                    fault_rate=options.fault_rate,
                    seed=options.seed,
                    documents=documents,
                    usual_delays=options.usual_delays,
                    tls=tls,
                )
            self._cleanup.push_async_callback(self.bedrock.close)
            endpoints |= dict.fromkeys(("BEDROCK", "BEDROCK_RUNTIME", "BEDROCK_AGENT_RUNTIME"), self.bedrock.url)
        credentials = sandbox.user_credentials() if options.real_bedrock else sandbox.FAKE_CREDENTIALS
        if "AWS_ENDPOINT_URL_DYNAMODB" in user_endpoints:
            url = user_endpoints["AWS_ENDPOINT_URL_DYNAMODB"]
            await asyncio.to_thread(create_tables_at, template.tables, url, credentials)
        else:
            self.table = DynamoDB()
            table_port = port and port + 4
            with _port_errors(table_port):
                self.table.start(table_port, options.bridge, tls)
            self._cleanup.callback(self.table.stop)
            endpoints["DYNAMODB"] = self.table.url
            for table in template.tables:
                self.table.create_table(dict(table))
        lambda_api = EntryPoint()
        lambda_api.handler = self.invoke_api
        await self._open(lambda_api, 0, tls)
        endpoints["LAMBDA"] = lambda_api.url
        extra = {"FLAGS_FILE": str(options.flags.resolve())} if options.flags else {}
        if authority:
            extra["AWS_CA_BUNDLE"] = str(authority.bundle)
        return sandbox.service_variables(endpoints, credentials, options.auth) | extra

    def _create_pools(self, template: Template, variables: Mapping[str, str]) -> None:
        concurrency = allocate(template.functions.values(), self._options.concurrency)
        for name, function in template.functions.items():
            # The emulators accept any credentials. The session token is the name of the calling function (calls.py).
            token = {} if self._options.real_bedrock else {"AWS_SESSION_TOKEN": name}
            box = sandbox.build(function, self._watchdog.folder / name, {**variables, **token})
            create = functools.partial(Environment, function, box, self._watchdog, rationed=self._options.ration_cpu)
            pool = Pool(function, create, concurrency[name])
            self._cleanup.push_async_callback(pool.close)
            self.pools[name] = pool

    async def _start_entry_points(self, template: Template) -> None:
        streaming = [pool for pool in self.pools.values() if pool.function.has_url]
        if len(streaming) != 1:
            raise TemplateError("the local stack serves one Function URL; the template must have exactly one")
        self.function_url.handler = FunctionUrl(streaming[0])
        token_url = f"{PREFIX}token" if self.issuer else None
        control = Control(self.pools, self.invoke_api, self.bedrock, self.table, self.issuer)
        if template.http_api:
            self.http_api.handler = HttpApiServer(template.http_api, self.pools)
        self.has_web_host = template.distribution is not None
        if template.distribution:
            origins: dict[str, Handler] = {
                streaming[0].function.name: self.function_url,
                "HttpApi": self.http_api,
                "WebBucket": StaticFiles(
                    self._options.web, "/", "/", token_url, listed="WebBucket" in template.listed_buckets
                ),
            }
            self.web_host.handler = _by_prefix({PREFIX: control}, CloudFront(template.distribution, origins))
        else:
            self.web_host.handler = _by_prefix({PREFIX: control}, _no_web_host)
        if template.rest_api:
            self.rest_api.handler = RestApiServer(template.rest_api, self.pools)
            await self._open(self.rest_api, 0)
            self.rest_url = f"{self.rest_api.url}/{template.rest_api.stage}"
        pages = StaticFiles(self._options.web, self.function_url.url, self.http_api.url, token_url)
        self.page.handler = _by_prefix({PREFIX: control, invoke_api.PREFIX: self.invoke_api}, pages)


async def _no_web_host(_: Request, responder: Responder) -> None:
    await responder.send(404, [("content-type", "text/plain")], b"WebHost is disabled.\n")


def _by_prefix(by_prefix: Mapping[str, Handler], default: Handler) -> Handler:
    """Return a handler that chooses by the prefix of the path, and `default` for all other paths."""

    async def route(request: Request, responder: Responder) -> None:
        handler = next((each for prefix, each in by_prefix.items() if request.path.startswith(prefix)), default)
        await handler(request, responder)

    return route
