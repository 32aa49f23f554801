"""Records which function called which AWS action on which resource. These are the actions that its role must allow."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

CALLER = "x-amz-security-token"  # the header; the session token of each function is its name

# A transaction needs the permissions of its parts:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
_PARTS = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
_MODEL_ACTIONS = {
    "converse": "InvokeModel",
    "converse-stream": "InvokeModelWithResponseStream",
    "invoke": "InvokeModel",
    "retrieve": "Retrieve",
}


class Call(NamedTuple):
    """A call of a function to AWS.

    `resource`: a table, `table/index/name`, a function, or the id of a model, guardrail or knowledge base.
    """

    function: str
    action: str
    resource: str


class CallLog:
    """The different calls that one service received from the functions. Equal calls are kept once.

    `caller` is the function's name; a call without a caller is not recorded.
    """

    def __init__(self) -> None:
        self._calls: dict[Call, None] = {}

    def __iter__(self) -> Iterator[Call]:
        return iter(tuple(self._calls))

    def add_table_request(self, caller: str | None, operation: str, body: bytes) -> None:
        """Record a request to DynamoDB."""
        if caller is not None:
            for action, resource in _table_actions(operation, json.loads(body)):
                self._add(caller, f"dynamodb:{action}", resource)

    def add_model_request(self, caller: str | None, operation: str, model_id: str, body: Any) -> None:
        """Record a request to Bedrock. `operation` is the last part of its path."""
        self._add(caller, f"bedrock:{_MODEL_ACTIONS[operation]}", model_id)
        if isinstance(body, dict) and (guardrail := body.get("guardrailConfig")):
            self._add(caller, "bedrock:ApplyGuardrail", guardrail.get("guardrailIdentifier", ""))

    def add_control_request(self, caller: str | None, operation: str, model_id: str) -> None:
        """Record a request to Bedrock's control plane. `model_id` is `*` for a list."""
        self._add(caller, f"bedrock:{operation}", model_id)

    def add_invocation(self, caller: str | None, name: str) -> None:
        """Record a request to Lambda's Invoke API."""
        self._add(caller, "lambda:InvokeFunction", name)

    def _add(self, caller: str | None, action: str, resource: str) -> None:
        if caller is not None:
            self._calls[Call(caller, action, resource)] = None


def _table_actions(operation: str, request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if operation in {"TransactWriteItems", "TransactGetItems"}:
        for item in request["TransactItems"]:
            [(kind, part)] = item.items()
            yield _PARTS.get(kind, "GetItem"), part["TableName"]
    elif operation in {"BatchGetItem", "BatchWriteItem"}:
        yield from ((operation, table) for table in request["RequestItems"])
    else:
        table, index = request.get("TableName", "*"), request.get("IndexName")
        yield operation, f"{table}/index/{index}" if index else table
