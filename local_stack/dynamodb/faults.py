"""Faults of the table on demand: what DynamoDB may answer at any moment, and moto never does."""

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
    """An error as DynamoDB answers it: the status, and the body as JSON."""

    status: int
    body: Mapping[str, Any]

    @classmethod
    def of(cls, code: str, message: str, status: int = 400) -> "Refusal":
        """The error of this code."""
        return cls(status, {"__type": NAMESPACE + code, "message": message})


@dataclass
class TableFaults:
    """The faults to come; the numbers are of requests that get them, the next ones that can.

    `throttle`: transactions that are cancelled because the table has no capacity left, with both reasons in turn.
    `conflict`: writes that meet a transaction. Both by
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html.
    `unprocessed`: batches of which the first half is read, by
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html.
    """

    delay: float = 0.0  # seconds before every answer
    fails_until: float = 0.0  # a time of the event loop
    throttle: int = 0
    conflict: int = 0
    unprocessed: int = 0

    async def refusal(self, operation: str, request: Mapping[str, Any]) -> Refusal | None:
        """The error for this request instead of an answer, after the delay; None if it is to be answered."""
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

    def unread(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Takes the second half of a batch's keys out of the request; what was taken, as UnprocessedKeys."""
        if operation != "BatchGetItem" or not self.unprocessed:
            return {}
        self.unprocessed -= 1
        left = {}
        for name, of_table in request["RequestItems"].items():
            half = (len(of_table["Keys"]) + 1) // 2
            if of_table["Keys"][half:]:
                left[name] = {**of_table, "Keys": of_table["Keys"][half:]}
            of_table["Keys"] = of_table["Keys"][:half]
        return left


def _cancelled(parts: int, code: str, message: str) -> Refusal:
    """A transaction that was cancelled because of its last part."""
    reasons = [*[{"Code": "None"}] * (parts - 1), {"Code": code, "Message": message}]
    text = _CANCELLED.format(", ".join(reason["Code"] for reason in reasons))
    answer = {"Message": text, "CancellationReasons": reasons}
    return Refusal(400, {"__type": NAMESPACE + "TransactionCanceledException", **answer})
