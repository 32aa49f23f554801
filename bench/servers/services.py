"""The services that a function calls: the model, the table, and Lambda's Invoke."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.servers.http import Connection, Message, Server
from bench.servers.model import ModelServer
from bench.servers.table import TableServer
from local_stack.identity.certificates import Authority
from local_stack.lambda_service import sandbox


class InvokeServer(Server):
    """Accepts asynchronous invocations, and runs nothing. `payloads` are their events."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    def receive(self, connection: Connection, request: Message) -> None:
        self.payloads.append(request.body)
        connection.reply("202 Accepted")


@dataclass(frozen=True)
class Services:
    """The servers, all in this process. `bundle` has the certificates that verify them, None without TLS."""

    model: ModelServer
    table: TableServer
    invoke: InvokeServer
    bundle: Path | None = None

    def endpoints(self) -> dict[str, str]:
        """The environment variables with which boto3 calls them."""
        variables = sandbox.service_variables(
            {"BEDROCK_RUNTIME": self.model.url, "DYNAMODB": self.table.url, "LAMBDA": self.invoke.url},
            auth_mode="iam",
        )
        return variables | ({"AWS_CA_BUNDLE": str(self.bundle)} if self.bundle else {})


@asynccontextmanager
async def services(authority: Authority | None) -> AsyncIterator[Services]:
    """Runs the servers; with an `authority`, over TLS with its certificates."""
    running = Services(ModelServer(), TableServer(), InvokeServer(), authority.bundle if authority else None)
    servers: list[Server] = [running.model, running.table, running.invoke]
    try:
        for server in servers:
            await server.start(authority.server_context() if authority else None)
        yield running
    finally:
        for server in servers:
            server.close()
