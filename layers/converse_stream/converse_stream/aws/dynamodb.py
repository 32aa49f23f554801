"""A client for DynamoDB with the calls of this project. Each costs a third of the CPU time of boto3's.

It has the methods, the responses and the exceptions of boto3's client, except that binary values in responses are
base64. What it takes from botocore: credentials and their renewal, the CA bundle, the exceptions. What it does itself:
JSON (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html), signature version
4 (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html), and retries.
"""

import hashlib
import hmac
import json
import random
import secrets
import time
import zlib
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import urllib3
from botocore.credentials import Credentials
from botocore.exceptions import (
    ChecksumError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

from converse_stream.aws.connection_pools import pool_of

MAX_CONNECTIONS = 10  # in the pool; more calls at the same time open a connection each
FIRST_PAUSE = 0.1  # seconds before the second attempt, doubled for each further one, with full jitter
MAX_SKEW = 240  # seconds between the clocks that DynamoDB accepts: it refuses signatures from 300 on

_VERSION = "DynamoDB_20120810"
_ALGORITHM = "AWS4-HMAC-SHA256"
_THROTTLES = frozenset(
    {"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "Throttling"}
)
_TEMPORARY = _THROTTLES | {"TransactionInProgressException", "InternalServerError", "ServiceUnavailable"}


class DynamoDB:
    """The client. Threads may share it.

    `credentials` are botocore's. An attempt has `connect_seconds` to connect, and waits `read_seconds` for the next
    bytes of the response.
    """

    def __init__(
        self,
        credentials: Credentials | None,
        region: str,
        url: str,
        *,
        attempts: int,
        connect_seconds: float,
        read_seconds: float,
        ca_bundle: str | None = None,
    ) -> None:
        self._credentials = credentials
        self._region = region
        self.url = url
        self._host = urlsplit(url).netloc
        self._attempts = attempts
        timeout = urllib3.Timeout(connect=connect_seconds, read=read_seconds)
        self.pool = pool_of(url, timeout=timeout, maxsize=MAX_CONNECTIONS, ca_bundle=ca_bundle)
        self._signing_key: tuple[tuple[str, str], bytes] = (("", ""), b"")
        self._skew = 0.0  # seconds that the server's clock is ahead of ours

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
        self.pool.close()

    def _call(self, operation: str, request: Mapping[str, Any]) -> Any:
        body = json.dumps(request, default=_base64, separators=(",", ":")).encode()
        for attempt in range(1, self._attempts + 1):
            try:
                return self._attempt(operation, body)
            except _Temporary as failure:
                if attempt == self._attempts:
                    raise failure.error from failure.__cause__
                time.sleep(random.uniform(0, FIRST_PAUSE * 2 ** (attempt - 1)))  # noqa: S311  # jitter, not a secret
        raise AssertionError

    def _attempt(self, operation: str, body: bytes) -> Any:
        response = self._send(operation, body)
        if response.status != 200 and self._has_other_clock(response):
            response = self._send(operation, body)
        if int(response.headers.get("x-amz-crc32", zlib.crc32(response.data))) != zlib.crc32(response.data):
            raise _Temporary(ChecksumError(checksum_type="crc32", expected_checksum="", actual_checksum=""))
        if response.status == 200:
            return json.loads(response.data)
        error = _client_error(operation, response)
        if response.status >= 500 or error.response["Error"]["Code"] in _TEMPORARY:
            raise _Temporary(error)
        raise error

    def _send(self, operation: str, body: bytes) -> urllib3.BaseHTTPResponse:
        url = self.url
        headers = self._signed(operation, body)
        try:
            return self.pool.urlopen("POST", "/", body, headers, retries=False, redirect=False, assert_same_host=False)
        except urllib3.exceptions.NewConnectionError as error:
            raise _Temporary(EndpointConnectionError(endpoint_url=url)) from error
        except urllib3.exceptions.ConnectTimeoutError as error:
            raise _Temporary(ConnectTimeoutError(endpoint_url=url)) from error
        except urllib3.exceptions.ReadTimeoutError as error:
            raise _Temporary(ReadTimeoutError(endpoint_url=url)) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _Temporary(ConnectionClosedError(endpoint_url=url)) from error

    def _signed(self, operation: str, body: bytes) -> dict[str, str]:
        """The headers of a request, with its signature."""
        if self._credentials is None:
            raise NoCredentialsError
        credentials = self._credentials.get_frozen_credentials()
        at = datetime.fromtimestamp(time.time() + self._skew, UTC).strftime("%Y%m%dT%H%M%SZ")
        headers = {
            "content-type": "application/x-amz-json-1.0",
            "host": self._host,
            "x-amz-date": at,
            **({"x-amz-security-token": credentials.token} if credentials.token else {}),
            "x-amz-target": f"{_VERSION}.{operation}",
        }  # in the order of their names, as the signature needs them
        names, date = ";".join(headers), at[:8]
        lines = "\n".join(f"{name}:{value}" for name, value in headers.items())
        canonical = f"POST\n/\n\n{lines}\n\n{names}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{date}/{self._region}/dynamodb/aws4_request"
        text = f"{_ALGORITHM}\n{at}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key_of(str(credentials.secret_key), date), text.encode(), "sha256").hex()
        credential = f"Credential={credentials.access_key}/{scope}"
        headers["authorization"] = f"{_ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"
        return headers

    def _key_of(self, secret: str, date: str) -> bytes:
        """The signing key of a day. It is kept until the day or the credentials change."""
        owner, key = self._signing_key
        if owner != (secret, date):
            key = f"AWS4{secret}".encode()
            for part in (date, self._region, "dynamodb", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._signing_key = ((secret, date), key)
        return key

    def _has_other_clock(self, response: urllib3.BaseHTTPResponse) -> bool:
        """Whether the signature was refused for the time of our clock. Then the next one has the server's time."""
        with suppress(KeyError, ValueError):
            server = parsedate_to_datetime(response.headers["date"]).timestamp()
            skew = server - time.time()
            if abs(skew - self._skew) > MAX_SKEW:
                self._skew = skew
                return True
        return False


class _Temporary(Exception):
    """The attempt failed with `error`, and another one may succeed."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def _client_error(operation: str, response: urllib3.BaseHTTPResponse) -> ClientError:
    """The error of a response, in the form of boto3."""
    try:
        body = json.loads(response.data)
    except ValueError:  # from a proxy
        body = {}
    code = str(body.pop("__type", response.status)).rpartition("#")[2].partition(":")[0]
    message = body.pop("message", body.pop("Message", ""))
    metadata = {"HTTPStatusCode": response.status, "RequestId": response.headers.get("x-amzn-requestid", "")}
    parsed: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata, **body}
    return ClientError(parsed, operation)


def _base64(value: object) -> str:
    if isinstance(value, (bytes, bytearray)):
        return b64encode(value).decode()
    raise TypeError
