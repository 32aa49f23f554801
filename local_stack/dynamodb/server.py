"""The server of the DynamoDB emulator, with moto's tables.

moto is not safe with concurrent requests: transactions lose acknowledged writes, and two conditional puts of the same
item can both succeed. So one thread owns the tables. Its event loop receives requests from many connections and passes
them to moto one at a time. (moto's own server uses one thread per request.)

moto was made for short tests: it keeps a reference to each object, and copies a table with all items for each part of a
transaction. Here it keeps no references, and a copy shares the items.

Requests that DynamoDB refuses and moto accepts are refused before moto gets them: `rules`, `idempotency_tokens`. Errors
that DynamoDB may have at any time can be injected: `faults`.
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

from local_stack.calls import CALLER, CallLog
from local_stack.dynamodb.faults import Refusal, TableFaults
from local_stack.dynamodb.idempotency_tokens import Mismatch, Tokens
from local_stack.dynamodb.rules import Schema, check
from local_stack.dynamodb.values import Invalid
from local_stack.http import Request, Responder, port_of, serve

HOST = "127.0.0.1"
_TARGET = "DynamoDB_20120810."
_JSON = "application/x-amz-json-1.0"
_TRANSACTION = "TransactWriteItems"
# Properties of AWS::DynamoDB::Table that CreateTable accepts and that have an effect here.
_CREATE_TABLE = (
    "TableName",
    "AttributeDefinitions",
    "KeySchema",
    "BillingMode",
    "GlobalSecondaryIndexes",
    "LocalSecondaryIndexes",
    "ProvisionedThroughput",
)
# moto's state is global in the process. Each instance uses another account, so that their tables are separate.
_accounts = itertools.count()


class _Table(Table):
    """moto's table, with cheap copies for the rollback of a transaction.

    A copy shares its items with the original. `get_item` replaces the item by a copy, so that it may be changed.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = copy.copy(self)
        copied.items = defaultdict(dict)
        for key, content in self.items.items():  # items by sort key, or the item itself if the table has no sort key
            copied.items[key] = dict(content) if isinstance(content, dict) else content
        return copied

    def get_item(
        self,
        hash_key: DynamoType,
        range_key: DynamoType | None = None,
        projection_expression: list[list[str]] | None = None,
    ) -> Item | None:
        items, key = (self.items.get(hash_key, {}), range_key) if range_key else (self.items, hash_key)
        if key in items:
            items[key] = copy.deepcopy(items[key])
        return super().get_item(hash_key, range_key, projection_expression)

    def query(  # type: ignore[override]  # other parameters are passed on unchanged
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
        """Return items, the number of scanned items and the last key.

        A page that ends at its limit has a last key, also if no item follows:
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


models.Table = _Table  # type: ignore[attr-defined]  # moto's backend uses this name
for _model in model_data["dynamodb"].values():
    _model.instances_tracked = deque(maxlen=0)  # type: ignore[attr-defined]  # moto's list of all objects of a model


class DynamoDBUnreachable(Exception):
    """The DynamoDB of the user's endpoint does not answer."""


def table_parameters(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of CreateTable for the properties of an AWS::DynamoDB::Table."""
    return {name: properties[name] for name in _CREATE_TABLE if name in properties}


def create_tables_at(tables: Iterable[Mapping[str, Any]], url: str, credentials: Mapping[str, str]) -> None:
    """Create tables in another DynamoDB if they do not exist. Raises DynamoDBUnreachable.

    DynamoDB Local separates tables by access key and region, so `credentials` must be those of the functions.
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
        raise DynamoDBUnreachable(f"DynamoDB at {url} does not answer") from error


class DynamoDB:
    """The server and its tables, which exist as long as this object. The region of requests is ignored."""

    def __init__(self) -> None:
        self.url = ""
        self.calls = CallLog()
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
        """Start the server and set `url`. Port 0 is any free port. Raises OSError if the port is in use.

        `bridge` is a second address, for containers, with the same port. With `tls` the server accepts only TLS
        connections.
        """
        self._port, self._tls = port, tls
        self._hosts = [HOST, bridge] if bridge else [HOST]
        self._thread.start()
        self._started.result()

    def stop(self) -> None:
        self._started.result().call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def create_table(self, properties: Mapping[str, Any]) -> None:
        """Create a table from the properties of an AWS::DynamoDB::Table. Their references must be resolved."""
        self._request("CreateTable", table_parameters(properties))
        if ttl := properties.get("TimeToLiveSpecification"):
            self._request("UpdateTimeToLive", {"TableName": properties["TableName"], "TimeToLiveSpecification": ttl})

    def set_faults(
        self, delay_ms: float = 0, fail_for_ms: float = 0, throttle: int = 0, conflict: int = 0, unprocessed: int = 0
    ) -> None:
        """Set the faults of the next requests.

        `delay_ms`: delay of each request. `fail_for_ms`: for this time the answer is InternalServerError. The others
        are numbers of requests: see `TableFaults`.
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
        operation, parameters = target.removeprefix(_TARGET), json.loads(body)
        refusal = await self._faults.refusal(operation, parameters)
        if refusal is None:
            self.calls.add_table_request(request.header(CALLER), operation, body)
            refusal = self._refusal(operation, parameters)
        if refusal:
            await responder.send(refusal.status, [("content-type", _JSON)], json.dumps(refusal.body).encode())
        elif operation == _TRANSACTION and self._tokens.is_repeated(parameters):
            await responder.send(200, [("content-type", _JSON)], b"{}")
        else:
            await responder.send(*self._execute(operation, parameters))

    def _refusal(self, operation: str, parameters: Mapping[str, Any]) -> Refusal | None:
        """Return DynamoDB's error for a request that moto would accept, or None."""
        try:
            check(operation, parameters, self._schemas)
            if operation == _TRANSACTION:
                self._tokens.is_repeated(parameters)
        except Invalid as invalid:
            return Refusal.of("ValidationException", str(invalid))
        except Mismatch:
            return Refusal.of("IdempotentParameterMismatchException", "The token was used with other parameters.")
        return None

    def _execute(self, operation: str, parameters: dict[str, Any]) -> tuple[int, list[tuple[str, str]], bytes]:
        """Execute a request with moto, and record tokens and schemas. Returns status, headers and body."""
        unprocessed = self._faults.take_unprocessed(operation, parameters)
        status, headers, content = self._dispatch(_TARGET + operation, json.dumps(parameters).encode())
        if status == 200 and operation == _TRANSACTION:
            self._tokens.record(parameters)
        if status == 200 and operation == "CreateTable":
            self._schemas[parameters["TableName"]] = Schema.of(parameters)
        if status == 200 and unprocessed:
            body = json.loads(content)
            body["UnprocessedKeys"] = {**body["UnprocessedKeys"], **unprocessed}
            return status, [("content-type", _JSON)], json.dumps(body).encode()  # without moto's checksum
        return status, headers, content

    def _dispatch(self, target: str, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """Call moto. Returns status, headers and body. Needs no lock: only the event loop's thread calls it."""
        headers = {"x-amz-target": target, "content-type": _JSON, "x-moto-account-id": self._account}
        request = MotoRequest.from_primitives("POST", "http://dynamodb.us-east-1.amazonaws.com/", headers, body)
        try:
            status, response_headers, content = DynamoHandler.dispatch(request)
        except HTTPException as error:
            status, response_headers, content = error.code, dict(error.get_headers()), error.get_body()
        skipped = {"status", "content-length"}  # "status" is only for moto; we compute the length
        kept = [(name, str(value)) for name, value in response_headers.items() if name.lower() not in skipped]
        return int(status), kept, content if isinstance(content, bytes) else content.encode()

    def _request(self, operation: str, parameters: Mapping[str, Any]) -> None:
        """Execute a request of the stack itself, from any thread. Raises ValueError if it fails."""

        async def execute() -> tuple[int, list[tuple[str, str]], bytes]:
            return self._execute(operation, dict(parameters))

        status, _, body = asyncio.run_coroutine_threadsafe(execute(), self._started.result()).result()
        if status != 200:
            raise ValueError(f"{operation}: {body.decode()}")
