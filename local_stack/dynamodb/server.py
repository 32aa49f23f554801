"""DynamoDB on this machine: moto's, behind a port.

moto is not safe under concurrent requests: transactions lose acknowledged writes and put-if-absent has two winners.
So one thread owns the tables: its event loop takes requests from many connections and hands them to moto one at a
time. (moto's own server answers each in a thread of its own.)

And it was made for tests that end soon: it keeps every object that it ever made, and copies a table with all its items
for each part of a transaction. Here it keeps none, and a copy shares the items.

Where it is softer than DynamoDB, requests are judged before it sees them: `table_rules`, `table_tokens`. What DynamoDB
answers now and then is a fault on demand: `table_faults`.
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
from local_stack.dynamodb.faults import Refusal, TableFaults
from local_stack.dynamodb.idempotency_tokens import Mismatch, Tokens
from local_stack.dynamodb.rules import Schema, check
from local_stack.dynamodb.values import Invalid
from local_stack.http import Request, Responder, port_of, serve

HOST = "127.0.0.1"
_TARGET = "DynamoDB_20120810."
_JSON = "application/x-amz-json-1.0"
_OF_TRANSACTION = "TransactWriteItems"
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

    def query(  # type: ignore[override]  # its other parameters are passed on as they are
        self,
        hash_key: DynamoType | None,
        range_comparison: str | None,
        range_objs: list[DynamoType],
        limit: int,
        exclusive_start_key: dict[str, Any],
        scan_index_forward: bool,
        projection_expressions: list[list[str]] | None,
        index_name: str | None = None,
        consistent_read: bool = False,
        filter_expression: Any = None,
        **more: Any,
    ) -> tuple[list[Item], int, dict[str, Any] | None]:
        """A page that ends at its limit tells where, also when nothing follows:
        https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.Pagination.html
        """
        items, scanned, last = super().query(
            hash_key, range_comparison, range_objs, limit, exclusive_start_key, scan_index_forward, None, index_name,
            consistent_read, **more,
        )  # fmt: skip
        if items and len(items) == limit:
            last = self._get_last_evaluated_key(items[-1], index_name)
        if filter_expression is not None:
            items = [item for item in items if filter_expression.expr(item)]
        if projection_expressions:
            items = [item.project(projection_expressions) for item in items]
        return items, scanned, last


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
        self._faults = TableFaults()
        self._schemas: dict[str, Schema] = {}
        self._tokens = Tokens()
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

    def set_faults(
        self, delay_ms: float = 0, fail_for_ms: float = 0, throttle: int = 0, conflict: int = 0, unprocessed: int = 0
    ) -> None:
        """Delay every request from now on, each on its own; answer with InternalServerError for a time.

        The others are numbers of requests: see `TableFaults`.
        """
        fails_until = self._started.result().time() + fail_for_ms / 1000
        self._faults = TableFaults(delay_ms / 1000, fails_until, throttle, conflict, unprocessed)

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
        target = request.header("x-amz-target") or ""
        if not target.startswith(_TARGET):
            await responder.send(400, [("content-type", _JSON)], b'{"__type": "UnknownOperationException"}')
            return
        operation, asked = target.removeprefix(_TARGET), json.loads(body)
        refusal = await self._faults.refusal(operation, asked)
        if refusal is None:
            self.calls.of_table(request.header(CALLER), operation, body)
            refusal = self._refusal(operation, asked)
        if refusal:
            await responder.send(refusal.status, [("content-type", _JSON)], json.dumps(refusal.body).encode())
        elif operation == _OF_TRANSACTION and self._tokens.is_repeated(asked):
            await responder.send(200, [("content-type", _JSON)], b"{}")
        else:
            await responder.send(*self._answer(operation, asked))

    def _refusal(self, operation: str, asked: Mapping[str, Any]) -> Refusal | None:
        """What DynamoDB says to a request that moto must not see."""
        try:
            check(operation, asked, self._schemas)
            if operation == _OF_TRANSACTION:
                self._tokens.is_repeated(asked)
        except Invalid as invalid:
            return Refusal.of("ValidationException", str(invalid))
        except Mismatch:
            return Refusal.of("IdempotentParameterMismatchException", "The token was used with other parameters.")
        return None

    def _answer(self, operation: str, asked: dict[str, Any]) -> tuple[int, list[tuple[str, str]], bytes]:
        """moto's answer, and what must be remembered of it."""
        unread = self._faults.unread(operation, asked)
        status, headers, content = self._dispatch(_TARGET + operation, json.dumps(asked).encode())
        if status == 200 and operation == _OF_TRANSACTION:
            self._tokens.note(asked)
        if status == 200 and operation == "CreateTable":
            self._schemas[asked["TableName"]] = Schema.of(asked)
        if status == 200 and unread:
            answer = json.loads(content)
            answer["UnprocessedKeys"] = {**answer["UnprocessedKeys"], **unread}
            return status, [("content-type", _JSON)], json.dumps(answer).encode()  # without moto's checksum
        return status, headers, content

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
            return self._answer(operation, dict(parameters))

        status, _, answer = asyncio.run_coroutine_threadsafe(ask(), self._started.result()).result()
        if status != 200:
            raise ValueError(f"{operation}: {answer.decode()}")
