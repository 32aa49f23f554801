"""The services that a function calls: the model, the table, and Lambda's Invoke."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.servers.http import Connection, Message, Server
from bench.servers.model import ModelServer
from bench.servers.table import TableServer


class InvokeServer(Server):
    """Accepts asynchronous invocations, and runs nothing. `payloads` are their events."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    def receive(self, connection: Connection, request: Message) -> None:
        self.payloads.append(request.body)
        connection.reply("202 Accepted")


@dataclass(frozen=True)
class Services:
    """The servers, all in this process."""

    model: ModelServer
    table: TableServer
    invoke: InvokeServer


@asynccontextmanager
async def services() -> AsyncIterator[Services]:
    """Runs the servers."""
    running = Services(ModelServer(), TableServer(), InvokeServer())
    servers: list[Server] = [running.model, running.table, running.invoke]
    try:
        for server in servers:
            await server.start()
        yield running
    finally:
        for server in servers:
            server.close()
