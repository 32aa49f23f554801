"""The server of the Bedrock emulator: the runtime API, the lists of models, and Retrieve of knowledge bases.

boto3 uses it if AWS_ENDPOINT_URL_BEDROCK_RUNTIME, AWS_ENDPOINT_URL_BEDROCK and AWS_ENDPOINT_URL_BEDROCK_AGENT_RUNTIME
are set.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import ssl
import time
import uuid
from collections import Counter, deque
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote

from local_stack import http
from local_stack.bedrock import (
    control_plane,
    conversation,
    delivery,
    directives,
    embeddings,
    errors,
    model_rules,
    upstream,
    validation,
)
from local_stack.bedrock.billing import bill
from local_stack.bedrock.directives import HTTP_FAULTS, Fault
from local_stack.bedrock.documents import Documents
from local_stack.bedrock.emulated_model import EmulatedModel
from local_stack.bedrock.errors import BedrockError
from local_stack.bedrock.events import Event, Model
from local_stack.bedrock.model_table import MODELS
from local_stack.bedrock.models import ListedModel, find
from local_stack.calls import CALLER, CallLog
from local_stack.http import Request, Responder

KEPT_REQUESTS = 1_000
# Usual response times of Retrieve and of Titan's embedding of a short text, in seconds: least and most. Measured by
# users; AWS documents none.
USUAL_SECONDS = {"retrieve": (0.34, 0.85), "invoke": (0.08, 0.12)}
_REGION = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/([a-z0-9-]+)/")
_ROUTE = re.compile(r"/(?:model|knowledgebases)/([^/]+)/(converse|converse-stream|invoke|retrieve)")


@dataclass
class ModelRequest:
    """A received request and its state.

    `model_id` is the id of the model or the knowledge base. A request is `signed` for a `region`, or has a bearer
    token, `key`. `started` and `ended` are seconds since the epoch. `tokens` is the number of deltas sent. `dollars` is
    the price of the answer; None if the model has no known price, or the answer has no usage.
    """

    path: str
    model_id: str
    body: Any
    signed: bool = True
    key: str | None = None
    region: str | None = None
    started: float = field(default_factory=time.time)
    ended: float | None = None
    state: Literal["open", "done", "client-closed"] = "open"
    tokens: int = 0
    dollars: float | None = None

    def as_json(self) -> dict[str, Any]:
        names = ("path", "body", "signed", "key", "state", "started", "ended", "tokens", "dollars")
        return {"modelId": self.model_id} | {name: getattr(self, name) for name in names}


class BedrockServer:
    """The server of the emulator. `requests` has the last KEPT_REQUESTS requests, newest last.

    `models` are the listed models: a test can add one, remove one, or make one legacy.
    """

    def __init__(
        self,
        model: Model,
        documents: Documents,
        *,
        usual_delays: bool = False,
        models: Mapping[str, ListedModel] = MODELS,
    ) -> None:
        self.requests: deque[ModelRequest] = deque(maxlen=KEPT_REQUESTS)
        self.calls = CallLog()
        self._model = model
        self._documents = documents
        self._usual_delays = usual_delays
        self._models = models
        self._rate, self._seed, self._request_number = 0.0, 0, 0
        self._injected_faults: Counter[str] = Counter()  # by the text of the request
        self._responses: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def start(self, host: str, port: int, bridge: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._server = await http.serve(self._handle, [host, bridge] if bridge else host, port, tls)
        self.url = f"{'https' if tls else 'http'}://{host}:{http.port_of(self._server)}"

    async def close(self) -> None:
        """Stop to listen, and cancel the responses that are being sent."""
        if self._server:
            self._server.close()
        for response in self._responses:
            response.cancel()
        if self._responses:
            await asyncio.wait(self._responses)

    def set_faults(self, rate: float, seed: int) -> None:
        """Inject random faults from now on. The same seed and order of requests give the same faults."""
        self._rate, self._seed, self._request_number = rate, seed, 0

    async def _handle(self, request: Request, responder: Responder) -> None:
        if request.method == "GET" and (operation := control_plane.operation_of(request.path)):
            await self._list_models(operation, request, responder)
            return
        route = _ROUTE.fullmatch(request.path)
        if route is None or request.method != "POST":
            await responder.send(404, [("x-amzn-errortype", "UnknownOperationException")], b"{}")
            return
        body = _parsed(await request.read())
        scheme, _, token = (request.header("authorization") or "").partition(" ")
        signed = scheme.startswith("AWS4") or request.header(CALLER) is not None
        call = ModelRequest(
            request.path,
            unquote(route[1]),
            body,
            signed,
            token if scheme == "Bearer" else None,
            _region(request),
        )
        self.requests.append(call)
        self.calls.add_model_request(request.header(CALLER), route[2], call.model_id, body)
        # A second task waits for the end of the connection, so that a disconnect is noticed also during a stall.
        response = asyncio.create_task(self._respond(call, route[2], responder))
        disconnect = asyncio.create_task(responder.closed())
        self._responses.add(response)
        try:
            await asyncio.wait((response, disconnect), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (response, disconnect):
                task.cancel()
        outcome, _ = await asyncio.gather(response, disconnect, return_exceptions=True)
        self._responses.discard(response)
        disconnected = isinstance(outcome, asyncio.CancelledError | ConnectionError)
        call.state, call.ended = "client-closed" if disconnected else "done", time.time()
        if isinstance(outcome, Exception):
            raise outcome

    async def _respond(self, call: ModelRequest, operation: str, responder: Responder) -> None:
        headers = _headers()
        try:
            if operation in USUAL_SECONDS:
                run = embeddings.invoke if operation == "invoke" else self._documents.retrieve
                body = json.dumps(run(call.model_id, call.body)).encode()
                if self._usual_delays:  # an error is sent without delay
                    await asyncio.sleep(random.uniform(*USUAL_SECONDS[operation]))  # noqa: S311  # not a secret
                await responder.send(200, [*headers, ("content-type", "application/json")], body)
            else:
                await self._converse(
                    call, streamed=operation == "converse-stream", responder=responder, headers=headers
                )
        except BedrockError as error:
            await _send_error(error, headers, responder)

    async def _list_models(self, operation: control_plane.Operation, request: Request, responder: Responder) -> None:
        region = _region(request) or control_plane.REGION
        self.calls.add_control_request(request.header(CALLER), operation.name, operation.model_id or "*")
        try:
            body = json.dumps(control_plane.answer(operation, request.query, region, self._models)).encode()
            await responder.send(200, [*_headers(), ("content-type", "application/json")], body)
        except BedrockError as error:
            await _send_error(error, _headers(), responder)

    async def _converse(
        self, call: ModelRequest, *, streamed: bool, responder: Responder, headers: delivery.Headers
    ) -> None:
        operation = "ConverseStream" if streamed else "Converse"
        validation.check_converse(operation, call.model_id, call.body, call.region, self._models)
        body = _with_defaults(call.body) if streamed else call.body
        fault = self._fault(conversation.directive_text(call.body))
        self._raise_http_fault(fault, call, streamed=streamed)

        def count_delta() -> None:
            call.tokens += 1

        async with contextlib.aclosing(self._answer(call, body)) as events:
            if streamed:
                await delivery.send_stream(events, fault, responder, headers, count_delta)
            else:
                await delivery.send_buffered(events, fault, responder, headers)

    async def _answer(self, call: ModelRequest, body: dict[str, Any]) -> AsyncGenerator[Event, None]:
        """Yield the events of the answer. Records what it costs."""
        async with contextlib.aclosing(self._model.converse(call.model_id, body)) as events:
            async for event in events:
                if event.name == "metadata":
                    tier = event.payload.get("serviceTier", {}).get("type", "default")
                    latency = event.payload.get("performanceConfig", {}).get("latency", "standard")
                    call.dollars = bill(call.model_id, event.payload["usage"], tier, latency, self._models)
                yield event

    def _raise_http_fault(self, fault: Fault | None, call: ModelRequest, *, streamed: bool) -> None:
        """Raises BedrockError if the fault is an HTTP error."""
        name = fault.name if fault else ""
        if name in HTTP_FAULTS:
            raise errors.refusal(HTTP_FAULTS[name])
        if name == "refuse-stream" and streamed:
            tools = "toolConfig" in call.body
            raise errors.invalid(errors.TOOL_STREAMING_REFUSED if tools else errors.STREAMING_REFUSED)
        if name == "refuse-system" and call.body.get("system"):
            raise errors.invalid(errors.SYSTEM_REFUSED)
        if name == "no-profile":
            raise model_rules.profile_needed(call.model_id)
        if name == "end-of-life":
            raise errors.end_of_life()
        if name == "legacy":
            raise errors.legacy()
        if name == "too-long":
            window = find(call.model_id, self._models).window or 0
            raise model_rules.too_long(call.model_id, window + 1, window)

    def _fault(self, text: str) -> Fault | None:
        """Return the fault of a request with this text: the one of its directives, or a random one."""
        fault = directives.parse(text).fault
        if fault is None:
            self._request_number += 1
            return directives.random_fault(self._rate, self._seed, self._request_number)
        if fault.times is None:
            return fault
        self._injected_faults[text] += 1
        return fault if self._injected_faults[text] <= fault.times else None


async def serve(
    host: str,
    port: int,
    *,
    bridge: str | None = None,
    fault_rate: float = 0.0,
    seed: int = 0,
    model: Model | None = None,
    documents: Documents | None = None,
    usual_delays: bool = False,
    tls: ssl.SSLContext | None = None,
    models: Mapping[str, ListedModel] = MODELS,
) -> BedrockServer:
    """Start the Bedrock emulator on host:port; port 0 is any free port. Retrieve uses `documents`.

    With `usual_delays` embeddings and Retrieve take their usual time. `bridge` is a second address, for containers,
    with the same port. With `tls` the server accepts only TLS connections. `models` are the models that the emulator
    knows; others accept everything.

    The default model is the OpenAI-compatible server of LOCAL_MODEL_URL, or without it the emulated model.
    """
    model = model or upstream.configured(os.environ) or EmulatedModel(models)
    server = BedrockServer(model, documents or Documents(), usual_delays=usual_delays, models=models)
    server.set_faults(fault_rate, seed)
    await server.start(host, port, bridge, tls)
    return server


def _parsed(body: bytes) -> Any:
    try:
        return http.json_of(body)
    except ValueError:
        return None


def _with_defaults(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a ConverseStream request with the guardrail's default mode. Converse has no mode."""
    if "guardrailConfig" not in body:
        return body
    return body | {"guardrailConfig": {"streamProcessingMode": "sync"} | body["guardrailConfig"]}


def _region(request: Request) -> str | None:
    """Return the region for which a request is signed, or None."""
    region = _REGION.match(request.header("authorization") or "")
    return region[1] if region else None


def _headers() -> delivery.Headers:
    return [("x-amzn-requestid", str(uuid.uuid4()))]


async def _send_error(error: BedrockError, headers: delivery.Headers, responder: Responder) -> None:
    origin = "http://internal.amazon.com/coral/com.amazon.bedrock/"  # Bedrock sends it, and clients remove it
    headers = [*headers, ("content-type", "application/json"), ("x-amzn-errortype", f"{error.code}:{origin}")]
    await responder.send(error.status, headers, json.dumps({"message": error.message}).encode())
