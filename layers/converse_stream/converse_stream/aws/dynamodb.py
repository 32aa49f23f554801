"""A client for DynamoDB with the calls of this project.

It has the methods, the responses and the exceptions of boto3's client, except that binary values in responses are
base64 (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html).
"""

import json
import random
import secrets
import time
import zlib
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ChecksumError, ClientError

from converse_stream.aws.service import Service, client_error, to_json

FIRST_PAUSE = 0.1  # seconds before the second attempt, doubled for each further one, with full jitter

_TEMPORARY = frozenset(
    {
        "InternalServerError",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "TransactionInProgressException",
    }
)


class DynamoDB:
    """The client. Threads may share it. A call has `attempts`."""

    def __init__(self, service: Service, attempts: int) -> None:
        self.service = service
        self._attempts = attempts

    def get_item(self, **request: Any) -> Any:
        """See boto3, as for all the others."""
        return self._call("GetItem", request)

    def batch_get_item(self, **request: Any) -> Any:
        return self._call("BatchGetItem", request)

    def query(self, **request: Any) -> Any:
        return self._call("Query", request)

    def put_item(self, **request: Any) -> Any:
        return self._call("PutItem", request)

    def update_item(self, **request: Any) -> Any:
        return self._call("UpdateItem", request)

    def delete_item(self, **request: Any) -> Any:
        return self._call("DeleteItem", request)

    def transact_write_items(self, **request: Any) -> Any:
        """The token makes a repeated attempt return the result of the first one."""
        return self._call("TransactWriteItems", {"ClientRequestToken": secrets.token_hex(16), **request})

    def close(self) -> None:
        """Closes the connections that are not in use."""
        self.service.close()

    def _call(self, operation: str, request: Mapping[str, Any]) -> Any:
        body = to_json(request)
        for attempt in range(self._attempts):
            if attempt:
                time.sleep(random.uniform(0, FIRST_PAUSE * 2 ** (attempt - 1)))  # noqa: S311  # jitter, not a secret
            try:
                return self._attempt(operation, body)
            except (BotoCoreError, ClientError) as error:
                if attempt + 1 == self._attempts or not _is_temporary(error):
                    raise
        raise AssertionError

    def _attempt(self, operation: str, body: bytes) -> Any:
        headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"DynamoDB_20120810.{operation}"}
        response = self.service.post("/", headers, body)
        checksum = str(zlib.crc32(response.data))
        if (expected := response.headers.get("x-amz-crc32", checksum)) != checksum:
            raise ChecksumError(checksum_type="crc32", expected_checksum=expected, actual_checksum=checksum)
        if response.status != 200:
            raise client_error(operation, response)
        return json.loads(response.data)


def _is_temporary(error: BotoCoreError | ClientError) -> bool:
    """Whether another attempt may succeed: after an error of the connection or the server, and if it is throttled."""
    if isinstance(error, ClientError):
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return status >= 500 or error.response["Error"]["Code"] in _TEMPORARY
    return True
