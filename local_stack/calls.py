"""Which function asked AWS for what, in the words of IAM: what its role must allow, and all that it needs to."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

CALLER = "x-amz-security-token"  # the header: the stack gives each function its name as session token

# A transaction needs what its parts would need alone
# (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html).
_PARTS = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
_MODEL_ACTIONS = {
    "converse": "InvokeModel",
    "converse-stream": "InvokeModelWithResponseStream",
    "invoke": "InvokeModel",
    "retrieve": "Retrieve",
}


class Call(NamedTuple):
    """`resource` is a table, `table/index/name`, a function, or a model's, guardrail's or knowledge base's id."""

    function: str
    action: str
    resource: str


class CallLog:
    """The calls that one service got from the stack's functions, each kind once."""

    def __init__(self) -> None:
        self._seen: dict[Call, None] = {}

    def __iter__(self) -> Iterator[Call]:
        return iter(tuple(self._seen))

    def of_table(self, caller: str | None, operation: str, body: bytes) -> None:
        """A request to DynamoDB."""
        if caller is not None:
            for action, resource in _table_actions(operation, json.loads(body)):
                self._add(caller, f"dynamodb:{action}", resource)

    def of_model(self, caller: str | None, operation: str, model_id: str, body: Any) -> None:
        """A request to Bedrock's runtime, as its path names the operation."""
        self._add(caller, f"bedrock:{_MODEL_ACTIONS[operation]}", model_id)
        if isinstance(body, dict) and (guardrail := body.get("guardrailConfig")):
            self._add(caller, "bedrock:ApplyGuardrail", guardrail.get("guardrailIdentifier", ""))

    def of_function(self, caller: str | None, name: str) -> None:
        """A request to Lambda's Invoke API."""
        self._add(caller, "lambda:InvokeFunction", name)

    def _add(self, caller: str | None, action: str, resource: str) -> None:
        if caller is not None:
            self._seen[Call(caller, action, resource)] = None


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
