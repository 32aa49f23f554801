"""Bedrock's runtime API on a port, and Retrieve of knowledge bases beside it.

boto3 uses it unmodified by AWS_ENDPOINT_URL_BEDROCK_RUNTIME and AWS_ENDPOINT_URL_BEDROCK_AGENT_RUNTIME.
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
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote

from local_stack import http
from local_stack.bedrock import conversation, delivery, directives, embeddings, errors, models, upstream, validation
from local_stack.bedrock.directives import HTTP_FAULTS, Fault
from local_stack.bedrock.documents import Documents
from local_stack.bedrock.emulated_model import EmulatedModel
from local_stack.bedrock.errors import BedrockError
from local_stack.bedrock.events import Model
from local_stack.calls import CALLER, CallLog
from local_stack.http import Request, Responder

KEPT_REQUESTS = 1_000
# Seconds that Bedrock usually takes for an answer without a model's pace: as users measured Retrieve, and Titan's
# embedding of a short text. Nothing that AWS documents.
USUAL_SECONDS = {"retrieve": (0.34, 0.85), "invoke": (0.08, 0.12)}
_REGION = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/([a-z0-9-]+)/")
_ROUTE = re.compile(r"/(?:model|knowledgebases)/([^/]+)/(converse|converse-stream|invoke|retrieve)")


@dataclass
class ModelRequest:
    """A request as it was received, and how it goes. Times are seconds since the epoch; `tokens` counts deltas sent.

    `model_id` is the knowledge base's where one was asked. It is `signed`, for a `region`, or came with a bearer
    token, `key`.
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

    def as_json(self) -> dict[str, Any]:
        names = ("path", "body", "signed", "key", "state", "started", "ended", "tokens")
        return {"modelId": self.model_id} | {name: getattr(self, name) for name in names}


class BedrockServer:
    """The running server. `requests` holds the latest ones, newest last."""

    def __init__(self, model: Model, documents: Documents, *, usual_delays: bool = False) -> None:
        self.requests: deque[ModelRequest] = deque(maxlen=KEPT_REQUESTS)
        self.calls = CallLog()
        self._model = model
        self._documents = documents
        self._usual_delays = usual_delays
        self._rate, self._seed, self._drawn = 0.0, 0, 0
        self._struck: Counter[str] = Counter()
        self._answers: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def start(self, host: str, port: int, bridge: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._server = await http.serve(self._handle, [host, bridge] if bridge else host, port, tls)
        self.url = f"{'https' if tls else 'http'}://{host}:{http.port_of(self._server)}"

    async def close(self) -> None:
        """Stop listening and drop the answers under way."""
        if self._server:
            self._server.close()
        for answer in self._answers:
            answer.cancel()
        if self._answers:
            await asyncio.wait(self._answers)

    def set_faults(self, rate: float, seed: int) -> None:
        """From now on, faults by chance: the same ones for the same seed and order of requests."""
        self._rate, self._seed, self._drawn = rate, seed, 0

    async def _handle(self, request: Request, responder: Responder) -> None:
        route = _ROUTE.fullmatch(request.path)
        if route is None or request.method != "POST":
            await responder.send(404, [("x-amzn-errortype", "UnknownOperationException")], b"{}")
            return
        body = _parsed(await request.read())
        scheme, _, token = (request.header("authorization") or "").partition(" ")
        signed = scheme.startswith("AWS4") or request.header(CALLER) is not None
        region = _REGION.match(request.header("authorization") or "")
        call = ModelRequest(
            request.path,
            unquote(route[1]),
            body,
            signed,
            token if scheme == "Bearer" else None,
            region[1] if region else None,
        )
        self.requests.append(call)
        self.calls.of_model(request.header(CALLER), route[2], call.model_id, body)
        # The connection is watched while we answer, so that a client who leaves is noticed even in a stall.
        answer = asyncio.create_task(self._answer(call, route[2], responder))
        left = asyncio.create_task(responder.closed())
        self._answers.add(answer)
        try:
            await asyncio.wait((answer, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (answer, left):
                task.cancel()
        outcome, _ = await asyncio.gather(answer, left, return_exceptions=True)
        self._answers.discard(answer)
        gone = isinstance(outcome, asyncio.CancelledError | ConnectionError)
        call.state, call.ended = "client-closed" if gone else "done", time.time()
        if isinstance(outcome, Exception):
            raise outcome

    async def _answer(self, call: ModelRequest, operation: str, responder: Responder) -> None:
        headers = [("x-amzn-requestid", str(uuid.uuid4()))]
        try:
            if operation in USUAL_SECONDS:
                answer = embeddings.invoke if operation == "invoke" else self._documents.retrieve
                body = json.dumps(answer(call.model_id, call.body)).encode()
                if self._usual_delays:  # a refusal comes at once
                    await asyncio.sleep(random.uniform(*USUAL_SECONDS[operation]))  # noqa: S311  # not a secret
                await responder.send(200, [*headers, ("content-type", "application/json")], body)
            else:
                await self._converse(
                    call, streamed=operation == "converse-stream", responder=responder, headers=headers
                )
        except BedrockError as error:
            origin = "http://internal.amazon.com/coral/com.amazon.bedrock/"  # Bedrock sends it; clients cut it off
            headers += [("content-type", "application/json"), ("x-amzn-errortype", f"{error.code}:{origin}")]
            await responder.send(error.status, headers, json.dumps({"message": error.message}).encode())

    async def _converse(
        self, call: ModelRequest, *, streamed: bool, responder: Responder, headers: delivery.Headers
    ) -> None:
        validation.check_converse("ConverseStream" if streamed else "Converse", call.model_id, call.body, call.region)
        body = _with_defaults(call.body) if streamed else call.body
        fault = self._fault(conversation.directive_text(call.body))
        _refuse(fault, call.model_id, call.body, streamed=streamed)

        def sent() -> None:
            call.tokens += 1

        async with contextlib.aclosing(self._model.converse(call.model_id, body)) as events:
            if streamed:
                await delivery.stream(events, fault, responder, headers, sent)
            else:
                await delivery.whole(events, fault, responder, headers)

    def _fault(self, text: str) -> Fault | None:
        """The fault that strikes this request: the one that it asks for, or one by chance."""
        fault = directives.parse(text).fault
        if fault is None:
            self._drawn += 1
            return directives.random_fault(self._rate, self._seed, self._drawn)
        if fault.times is None:
            return fault
        self._struck[text] += 1
        return fault if self._struck[text] <= fault.times else None


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
) -> BedrockServer:
    """Serve Bedrock's runtime API, and Retrieve from `documents`, on host:port (0: any free one).

    With `usual_delays` embeddings and Retrieve take the time that they usually take. `bridge` is the address that
    containers reach, which gets the same port. With `tls` only that is spoken.

    The model is the built-in stand-in, or the OpenAI-compatible server that LOCAL_MODEL_URL names.
    """
    model = model or upstream.configured(os.environ) or EmulatedModel()
    server = BedrockServer(model, documents or Documents(), usual_delays=usual_delays)
    server.set_faults(fault_rate, seed)
    await server.start(host, port, bridge, tls)
    return server


def _parsed(body: bytes) -> Any:
    try:
        return http.json_of(body)
    except ValueError:
        return None


def _with_defaults(body: dict[str, Any]) -> dict[str, Any]:
    """The body of a ConverseStream request with the guardrail's usual mode; one in one piece has none."""
    if "guardrailConfig" not in body:
        return body
    return body | {"guardrailConfig": {"streamProcessingMode": "sync"} | body["guardrailConfig"]}


def _refuse(fault: Fault | None, model_id: str, body: dict[str, Any], *, streamed: bool) -> None:
    """Raises the HTTP errors among the faults."""
    name = fault.name if fault else ""
    if name in HTTP_FAULTS:
        raise errors.refusal(HTTP_FAULTS[name])
    if name == "refuse-stream" and streamed:
        tools = "toolConfig" in body
        raise BedrockError("ValidationException", errors.TOOL_STREAMING_REFUSED if tools else errors.STREAMING_REFUSED)
    if name == "refuse-system" and body.get("system"):
        raise BedrockError("ValidationException", errors.SYSTEM_REFUSED)
    if name == "no-profile":
        raise models.profile_needed(model_id)
    if name == "too-long":
        window = models.window_of(model_id) or 0
        raise models.too_long(model_id, window + 1, window)
