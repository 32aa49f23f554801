"""What is compared: a program that streams the answer to a chat message, under a Runtime API or as an HTTP server."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from bench.contenders.process import Command, MeasuredProcess, started
from bench.servers.http import HOST, Connection, Message, Watch
from bench.servers.model import WORD, Answer
from bench.servers.runtime_api import FunctionError, RuntimeApi
from bench.servers.services import Services

T = TypeVar("T")

WAIT_SECONDS = 60.0  # for a start or an answer, in addition to the pace of the answer
POLL_SECONDS = 0.001
_WORD, _TERMINAL = WORD.encode(), b'"complete"'


@dataclass(frozen=True)
class Contender:
    """A program under test. `megabytes` is the unzipped size of its layers and functions, None for a peer."""

    name: str
    command: Command
    serves_http: bool = False
    megabytes: float | None = None
    has_warm_rows: bool = True

    @property
    def is_ours(self) -> bool:
        """Whether it is a built function of this repository."""
        return self.megabytes is not None


@dataclass(frozen=True)
class Exchange:
    """One answered message. Times are seconds: since the message was sent, and of CPU of the whole process.

    `delays` has one value for each token: from its sending by the model to its arrival here.
    """

    response: Message
    first_delta: float
    first_delta_cpu: float
    cpu: float
    delays: tuple[float, ...]
    store_calls: tuple[str, ...]
    store_calls_before_model: int


class Channel(Protocol):
    """How messages reach a contender."""

    ready_at: float  # a time of `time.perf_counter`

    async def wait_until_ready(self) -> None:
        """Waits until the process accepts a message. Raises FunctionError."""

    async def exchange(self, event: bytes) -> tuple[float, Message]:
        """Sends a message, and waits until it is answered and the process is ready again.

        Returns the time at which it was sent, and the response. Raises FunctionError.
        """


class HttpChannel:
    """Sends the body of the event to an HTTP server."""

    def __init__(self, port: int, watch: Watch) -> None:
        self.ready_at = 0.0
        self._port = port
        self._watch = watch

    async def wait_until_ready(self) -> None:
        """Waits until the server listens."""
        while not self.ready_at:
            try:
                socket.create_connection((HOST, self._port)).close()
                self.ready_at = time.perf_counter()
            except ConnectionRefusedError:
                await asyncio.sleep(POLL_SECONDS)

    async def exchange(self, event: bytes) -> tuple[float, Message]:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Message] = loop.create_future()
        body = json.loads(event)["body"].encode()
        transport, _ = await loop.create_connection(
            lambda: Connection(lambda _, message: answered.set_result(message), self._watch), HOST, self._port
        )
        head = f"POST /chat HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        sent_at = time.perf_counter()
        transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        response = await answered
        transport.close()
        return sent_at, response


class FirstTokenClock:
    """Notes the CPU time of the process at the arrival of the first token."""

    process: MeasuredProcess

    def __init__(self) -> None:
        self.cpu = 0.0
        self._is_waiting = False

    def restart(self) -> None:
        """Waits for the first token of the next response."""
        self._is_waiting = True

    def watch(self, _: float, data: bytes) -> None:
        if self._is_waiting and _WORD in data:
            self._is_waiting, self.cpu = False, self.process.cpu_seconds()


class Running:
    """A started contender."""

    def __init__(self, process: MeasuredProcess, channel: Channel, clock: FirstTokenClock, services: Services) -> None:
        self.process = process
        self._channel = channel
        self._clock = clock
        self._services = services

    async def wait_until_ready(self) -> float:
        """Returns the seconds from the start of the process until it accepts a message. Raises FunctionError."""
        await self._unless_ended(self._channel.wait_until_ready(), WAIT_SECONDS)
        return self._channel.ready_at - self.process.started_at

    def age(self) -> float:
        """The seconds since the start of the process."""
        return time.perf_counter() - self.process.started_at

    async def send(self, event: bytes, answer: Answer) -> tuple[float, Message]:
        """Sends an event. Returns the time at which it was sent, and the response. Raises FunctionError."""
        self._services.model.answer = answer
        return await self._unless_ended(self._channel.exchange(event), WAIT_SECONDS + answer.tokens * answer.pace)

    async def ask(self, answer: Answer, conversation: str = "") -> Exchange:
        """Sends one message, in a new conversation if none is named. Raises FunctionError for an incomplete answer."""
        model, table = self._services.model, self._services.table
        self._clock.restart()
        calls, cpu_before = len(table.calls), self.process.cpu_seconds()
        sent_at, response = await self.send(chat_event(conversation or str(uuid4())), answer)
        cpu = self.process.cpu_seconds() - cpu_before
        received = token_times(response)
        if len(received) != answer.tokens:
            raise FunctionError(f"{len(received)} of {answer.tokens} tokens: {response.raw[-2000:]!r}")
        return Exchange(
            response=response,
            first_delta=received[0] - sent_at,
            first_delta_cpu=self._clock.cpu - cpu_before,
            cpu=cpu,
            delays=tuple(late - early for early, late in zip(model.sent, received, strict=True)),
            store_calls=tuple(name for _, name in table.calls[calls:]),
            store_calls_before_model=sum(at < model.requested_at for at, _ in table.calls[calls:]),
        )

    async def _unless_ended(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        task, deadline = asyncio.create_task(work), time.monotonic() + seconds
        while not task.done():
            await asyncio.wait({task}, timeout=0.5)
            if not task.done() and (self.process.has_ended or time.monotonic() > deadline):
                task.cancel()
                raise FunctionError("the process has ended" if self.process.has_ended else "no answer in time")
        return task.result()


@asynccontextmanager
async def running(contender: Contender, services: Services, log: Path) -> AsyncIterator[Running]:
    """Starts a contender, with its output in `log`. Raises FunctionError, with the end of the output as a note."""
    clock, api = FirstTokenClock(), None
    channel: Channel
    if contender.serves_http:
        port = _free_port()
        channel, address = HttpChannel(port, clock.watch), {"PORT": str(port)}
    else:
        channel = api = RuntimeApi(clock.watch)
        await api.start()
        address = {"AWS_LAMBDA_RUNTIME_API": api.address}
    command = replace(contender.command, variables={**contender.command.variables, **address})
    try:
        with started(command, log) as process:
            clock.process = process
            yield Running(process, channel, clock, services)
    except FunctionError as error:
        error.add_note(f"{contender.name}: {log.read_text(encoding='utf-8', errors='replace')[-4000:]}")
        raise
    finally:
        if api is not None:
            api.close()


def chat_event(conversation: str) -> bytes:
    """An event of the Function URL, from a caller with an IAM identity: one message in a conversation."""
    body = {"conversationId": conversation, "message": {"text": "Tell me about water"}}
    return url_event("POST", "/chat", body)


def url_event(method: str, path: str, body: object) -> bytes:
    """An event of a Function URL or an HTTP API, from a caller with an IAM identity."""
    identity = {
        "accessKey": "ASIAEXAMPLE",
        "accountId": "123456789012",
        "callerId": "AROAEXAMPLE:alice",
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": "arn:aws:sts::123456789012:assumed-role/chat/alice",
        "userId": "AROAEXAMPLE:alice",
    }
    http = {
        "method": method,
        "path": path,
        "protocol": "HTTP/1.1",
        "sourceIp": "203.0.113.7",
        "userAgent": "curl/8.5.0",
    }
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "accept": "text/event-stream",
            "content-type": "application/json",
            "host": "urlid.lambda-url.us-east-1.on.aws",
            "user-agent": "curl/8.5.0",
            "x-forwarded-for": "203.0.113.7",
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "urlid",
            "authorizer": {"iam": identity},
            "domainName": "urlid.lambda-url.us-east-1.on.aws",
            "http": http,
            "requestId": str(uuid4()),
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": int(time.time() * 1000),
        },
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }
    return json.dumps(event).encode()


def token_times(response: Message) -> list[float]:
    """The times at which the tokens of a response arrived: each with the read that has its last byte.

    Empty for a response without a terminal event. That event may repeat the whole answer.
    """
    ends, size = [], 0
    for at, data in response.reads:
        size += len(data)
        ends.append((size, at))
    times, read = [], 0
    tokens, terminal, _ = response.raw.partition(_TERMINAL)
    found = tokens.find(_WORD) if terminal else -1
    while found >= 0:
        while ends[read][0] < found + len(_WORD):
            read += 1
        times.append(ends[read][1])
        found = tokens.find(_WORD, found + len(_WORD))
    return times


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
