"""DynamoDB on this machine: moto's, behind a port.

moto is not safe under concurrent requests: transactions lose acknowledged writes and put-if-absent has two winners.
So one thread owns the tables: its event loop takes requests from many connections and hands them to moto one at a
time. (moto's own server answers each in a thread of its own.)

And it was made for tests that end soon: it keeps every object that it ever made, and copies a table with all its items
for each part of a transaction. Here it keeps none, and a copy shares the items.
"""

import asyncio
import contextlib
import copy
import itertools
import json
import ssl
import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any, Self

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from moto.core.model_instances import model_data
from moto.core.request import Request as MotoRequest
from moto.dynamodb import models
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler
from werkzeug.exceptions import HTTPException

from local_stack.calls import CALLER, Calls
from local_stack.http import Request, Responder, port_of, serve

HOST = "127.0.0.1"
_TARGET = "DynamoDB_20120810."
_JSON = "application/x-amz-json-1.0"
_FAILURE = {
    "__type": "com.amazonaws.dynamodb.v20120810#InternalServerError",
    "message": "The request could not be completed because of an internal error.",
}
# What CreateTable takes of AWS::DynamoDB::Table; encryption and recovery mean nothing here.
_CREATE_TABLE = (
    "TableName",
    "AttributeDefinitions",
    "KeySchema",
    "BillingMode",
    "GlobalSecondaryIndexes",
    "LocalSecondaryIndexes",
    "ProvisionedThroughput",
)
# moto's state is the process's; an account for each instance keeps their tables apart.
_accounts = itertools.count()


class _Table(Table):
    """moto's, with copies for a rollback that share its items: who gets one, perhaps to change it, gets a new one."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = copy.copy(self)
        copied.items = defaultdict(dict)
        for key, held in self.items.items():  # the items by their sort key, or where there is none the one item
            copied.items[key] = dict(held) if isinstance(held, dict) else held
        return copied

    def get_item(
        self,
        hash_key: DynamoType,
        range_key: DynamoType | None = None,
        projection_expression: list[list[str]] | None = None,
    ) -> Item | None:
        held, key = (self.items.get(hash_key, {}), range_key) if range_key else (self.items, hash_key)
        if key in held:
            held[key] = copy.deepcopy(held[key])
        return super().get_item(hash_key, range_key, projection_expression)


models.Table = _Table  # type: ignore[attr-defined]  # where its backend takes it from
for _model in model_data["dynamodb"].values():
    _model.instances_tracked = deque(maxlen=0)  # type: ignore[attr-defined]  # each model's list of all that it made


class NoDynamoDB(Exception):
    """The place that the caller named for the tables does not answer."""


def table_parameters(properties: Mapping[str, Any]) -> dict[str, Any]:
    """What CreateTable takes of an AWS::DynamoDB::Table's properties."""
    return {name: properties[name] for name in _CREATE_TABLE if name in properties}


def create_elsewhere(tables: Iterable[Mapping[str, Any]], url: str, credentials: Mapping[str, str]) -> None:
    """Create the tables that another DynamoDB does not have yet. Raises NoDynamoDB.

    DynamoDB Local keeps tables apart by key and region: `credentials` are those that the functions get.
    """
    client = boto3.client(
        "dynamodb",
        endpoint_url=url,
        region_name=credentials["AWS_REGION"],
        aws_access_key_id=credentials.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=credentials.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=credentials.get("AWS_SESSION_TOKEN"),
    )
    try:
        for properties in tables:
            with contextlib.suppress(client.exceptions.ResourceInUseException):
                client.create_table(**table_parameters(properties))
    except (BotoCoreError, ClientError, ValueError) as error:
        raise NoDynamoDB(f"DynamoDB at {url} does not answer") from error


class DynamoDB:
    """Tables that live as long as this object. The region of requests is not looked at."""

    def __init__(self) -> None:
        self.url = ""
        self.calls = Calls()
        self._port = 0
        self._hosts = [HOST]
        self._tls: ssl.SSLContext | None = None
        self._account = f"{next(_accounts):012}"
        self._delay = 0.0
        self._fails_until = 0.0
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="dynamodb", daemon=True)

    def start(self, port: int = 0, bridge: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        """Listen and return when `url` is ready; port 0 is any free one. Raises OSError for a busy one.

        `bridge` is the address that containers reach, which gets the same port. With `tls` only that is spoken.
        """
        self._port, self._tls = port, tls
        self._hosts = [HOST, bridge] if bridge else [HOST]
        self._thread.start()
        self._started.result()

    def stop(self) -> None:
        self._started.result().call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def create_table(self, properties: Mapping[str, Any]) -> None:
        """Create a table from the properties of an AWS::DynamoDB::Table whose references are resolved."""
        self._ask("CreateTable", table_parameters(properties))
        if ttl := properties.get("TimeToLiveSpecification"):
            self._ask("UpdateTimeToLive", {"TableName": properties["TableName"], "TimeToLiveSpecification": ttl})

    def set_faults(self, delay_ms: float = 0, fail_for_ms: float = 0) -> None:
        """Delay every request from now on, each on its own; answer with InternalServerError for a time."""
        self._delay = delay_ms / 1000
        self._fails_until = self._started.result().time() + fail_for_ms / 1000

    async def _serve(self) -> None:
        try:
            server = await serve(self._handle, self._hosts, self._port, self._tls)
        except OSError as error:
            self._started.set_exception(error)
            return
        self.url = f"{'https' if self._tls else 'http'}://{HOST}:{port_of(server)}"
        self._started.set_result(asyncio.get_running_loop())
        await self._stop.wait()
        server.close()

    async def _handle(self, request: Request, responder: Responder) -> None:
        body = await request.read()
        await asyncio.sleep(self._delay)
        target = request.header("x-amz-target") or ""
        if asyncio.get_running_loop().time() < self._fails_until:
            await responder.send(500, [("content-type", _JSON)], json.dumps(_FAILURE).encode())
        elif target.startswith(_TARGET):
            self.calls.of_table(request.header(CALLER), target.removeprefix(_TARGET), body)
            await responder.send(*self._dispatch(target, body))
        else:
            await responder.send(400, [("content-type", _JSON)], b'{"__type": "UnknownOperationException"}')

    def _dispatch(self, target: str, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body of moto's answer. Only the loop's thread may call it: that is the lock."""
        headers = {"x-amz-target": target, "content-type": _JSON, "x-moto-account-id": self._account}
        request = MotoRequest.from_primitives("POST", "http://dynamodb.us-east-1.amazonaws.com/", headers, body)
        try:
            status, answered, content = DynamoHandler.dispatch(request)
        except HTTPException as error:
            status, answered, content = error.code, dict(error.get_headers()), error.get_body()
        skipped = {"status", "content-length"}  # the first is moto's own, the second ours
        kept = [(name, str(value)) for name, value in answered.items() if name.lower() not in skipped]
        return int(status), kept, content if isinstance(content, bytes) else content.encode()

    def _ask(self, operation: str, parameters: Mapping[str, Any]) -> None:
        """A request of our own, from any thread."""

        async def ask() -> tuple[int, list[tuple[str, str]], bytes]:
            return self._dispatch(_TARGET + operation, json.dumps(parameters).encode())

        status, _, answer = asyncio.run_coroutine_threadsafe(ask(), self._started.result()).result()
        if status != 200:
            raise ValueError(f"{operation}: {answer.decode()}")
