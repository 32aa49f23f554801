"""Injects faults that DynamoDB may have at any time and that moto does not have."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

NAMESPACE = "com.amazonaws.dynamodb.v20120810#"
_INTERNAL = "The request could not be completed because of an internal error."
_CANCELLED = "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]"
_CONFLICT = "Transaction is ongoing for the item"
_THROTTLES = (
    ("ThrottlingError", "Throughput exceeds the current capacity of your table or index."),
    ("ProvisionedThroughputExceeded", "The level of configured provisioned throughput for the table was exceeded."),
)
_WRITES = frozenset({"PutItem", "UpdateItem", "DeleteItem"})


class Refusal(NamedTuple):
    """An error response of DynamoDB: the status, and the body as JSON."""

    status: int
    body: Mapping[str, Any]

    @classmethod
    def of(cls, code: str, message: str, status: int = 400) -> "Refusal":
        """Return the error with this code."""
        return cls(status, {"__type": NAMESPACE + code, "message": message})


@dataclass
class TableFaults:
    """The faults of the next requests. The numbers say how many requests get each fault.

    `throttle`: transactions that are cancelled for lack of capacity, with the two reasons in turn.
    `conflict`: writes that conflict with a transaction. For both see
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
    `unprocessed`: batches of which only the first half is read:
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
    """

    delay: float = 0.0  # seconds before each response
    fails_until: float = 0.0  # in the time of the event loop
    throttle: int = 0
    conflict: int = 0
    unprocessed: int = 0

    async def refusal(self, operation: str, request: Mapping[str, Any]) -> Refusal | None:
        """Wait for the delay. Returns the error for this request, or None if it has no fault."""
        await asyncio.sleep(self.delay)
        if asyncio.get_running_loop().time() < self.fails_until:
            return Refusal.of("InternalServerError", _INTERNAL, 500)
        transaction = operation == "TransactWriteItems"
        if self.throttle and transaction:
            self.throttle -= 1
            return _cancelled(len(request["TransactItems"]), *_THROTTLES[self.throttle % 2])
        if self.conflict and (transaction or operation in _WRITES):
            self.conflict -= 1
            if transaction:
                return _cancelled(len(request["TransactItems"]), "TransactionConflict", _CONFLICT)
            return Refusal.of("TransactionConflictException", _CONFLICT)
        return None

    def take_unprocessed(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Remove the second half of a batch's keys from the request. Returns the removed part as UnprocessedKeys."""
        if operation != "BatchGetItem" or not self.unprocessed:
            return {}
        self.unprocessed -= 1
        removed = {}
        for name, part in request["RequestItems"].items():
            half = (len(part["Keys"]) + 1) // 2
            if part["Keys"][half:]:
                removed[name] = {**part, "Keys": part["Keys"][half:]}
            part["Keys"] = part["Keys"][:half]
        return removed


def _cancelled(parts: int, code: str, message: str) -> Refusal:
    """Return the error of a transaction that was cancelled because of its last part."""
    reasons = [*[{"Code": "None"}] * (parts - 1), {"Code": code, "Message": message}]
    text = _CANCELLED.format(", ".join(reason["Code"] for reason in reasons))
    body = {"Message": text, "CancellationReasons": reasons}
    return Refusal(400, {"__type": NAMESPACE + "TransactionCanceledException", **body})
