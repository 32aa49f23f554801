"""A Runtime API for one function process, as a measuring instrument: it sends an event and times each read.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import asyncio
import time

from bench.servers.http import Connection, Message, Server, Watch

SECONDS = 300  # until the deadline of an invocation


class FunctionError(Exception):
    """The function reported an error, interrupted its response, or ended."""


class RuntimeApi(Server):
    """`ready_at` is the time of the last request for an event. `watch` gets each read of a response."""

    def __init__(self, watch: Watch) -> None:
        self.ready_at = 0.0
        self._watch = watch
        self._next: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        self._responses: list[Message] = []
        self._number = 0

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")

    def connection(self) -> Connection:
        return Connection(self.receive, self._watch)

    async def wait_until_ready(self) -> None:
        """Waits until the function asks for an event. Raises FunctionError."""
        await asyncio.shield(self._next)

    async def exchange(self, event: bytes) -> tuple[float, Message]:
        """Sends an event, and waits for the response and for the next request for an event.

        Returns the time at which the event was sent, and the response. Raises FunctionError.
        """
        await self.wait_until_ready()
        connection, self._next = self._next.result(), asyncio.get_running_loop().create_future()
        self._number += 1
        deadline = int((time.time() + SECONDS) * 1000)
        headers = (
            f"Lambda-Runtime-Aws-Request-Id: {self._number:08d}-0000-4000-8000-000000000000\r\n"
            f"Lambda-Runtime-Deadline-Ms: {deadline}\r\n"
            "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:123456789012:function:f\r\n"
            "Lambda-Runtime-Trace-Id: Root=1-69202a10-000000000000000000000001\r\n"
            "Content-Type: application/json\r\n"
        )
        sent_at = time.perf_counter()
        connection.reply("200 OK", event, headers)
        await self.wait_until_ready()
        if len(self._responses) != self._number:
            raise FunctionError("the function sent no response, or more than one")
        return sent_at, self._responses[-1]

    def receive(self, connection: Connection, request: Message) -> None:
        if request.method == "GET":
            self.ready_at = request.reads[-1][0]
            if not self._next.done():
                self._next.set_result(connection)
            return
        connection.reply("202 Accepted", b'{"status":"OK"}', "Content-Type: application/json\r\n")
        self._responses.append(request)
        if request.target.endswith("/error") or request.is_interrupted:
            self._next.set_exception(FunctionError(request.raw[-2000:].decode(errors="replace")))
