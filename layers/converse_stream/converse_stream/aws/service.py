"""Signed requests to one AWS service.

A request costs a third of the CPU time of boto3's, and no model of the service is read at the start.
"""

import json
import os
import time
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import urllib3
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ReadTimeoutError,
)

from converse_stream.aws.connection_pools import pool_of
from converse_stream.aws.credentials import find_credentials
from converse_stream.aws.signatures import Signer

MAX_CONNECTIONS = 10  # in the pool; more calls at the same time open a connection each
MAX_SKEW = 240  # seconds between the clocks; AWS refuses signatures from 300 on

_FIPS_BY_DEFAULT = frozenset({"dynamodb", "ssm"})  # in GovCloud, under their usual names
# By the first part of a region's name, where they differ: the domain of endpoints, and of those with IPv6.
_DOMAINS = {
    "cn": ("amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    "eusc": ("amazonaws.eu", "api.amazonwebservices.eu"),
}


class Service:
    """A service, such as `dynamodb`, in the region of the environment, at its endpoint or at `url`.

    A request has `connect_seconds` to connect, and waits `read_seconds` for the next bytes of the response. Threads may
    share the object. `signing_name` is the name of the service in signatures.
    """

    def __init__(
        self, name: str, *, connect_seconds: float, read_seconds: float, signing_name: str = "", url: str = ""
    ) -> None:
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if not region:
            raise NoRegionError
        self.url = url or _endpoint(name, region)
        self._host = urlsplit(self.url).netloc
        self._path = urlsplit(self.url).path.rstrip("/")
        timeout = urllib3.Timeout(connect=connect_seconds, read=read_seconds)
        self.pool = pool_of(self.url, timeout=timeout, maxsize=MAX_CONNECTIONS)
        # A proxy gets the whole URL, unless the request is in a tunnel for TLS.
        self._origin = f"http://{self._host}" if self.pool.proxy and self.url.startswith("http:") else ""
        self._signer = Signer(signing_name or name, region)
        self._credentials = find_credentials()
        self._skew = 0.0  # seconds that the server's clock is ahead of ours

    def post(
        self, path: str, headers: Mapping[str, str], body: bytes, *, streamed: bool = False, token: str | None = None
    ) -> urllib3.BaseHTTPResponse:
        """The response to a POST request, of any status. With `streamed`, its body is not read yet.

        `path` is percent-encoded. With a bearer `token` the request is not signed. If the signature is refused because
        our clock is wrong, the request is sent again with the time of the server. Raises exceptions of botocore.
        """
        response = self._send(path, headers, body, streamed=streamed, token=token)
        if response.status in {400, 401, 403} and token is None and self._has_other_clock(response):
            response.drain_conn()
            response = self._send(path, headers, body, streamed=streamed, token=token)
        return response

    def close(self) -> None:
        """Closes the connections that are not in use."""
        self.pool.close()

    def _send(
        self, path: str, headers: Mapping[str, str], body: bytes, *, streamed: bool, token: str | None
    ) -> urllib3.BaseHTTPResponse:
        url, path = self.url, self._path + path
        all_headers = self._authorized(path, {"host": self._host, **headers}, body, token)
        try:
            return self.pool.urlopen(
                "POST",
                self._origin + path,
                body,
                all_headers,
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=not streamed,
            )
        except urllib3.exceptions.NewConnectionError as error:
            raise EndpointConnectionError(endpoint_url=url) from error
        except urllib3.exceptions.ConnectTimeoutError as error:
            raise ConnectTimeoutError(endpoint_url=url) from error
        except urllib3.exceptions.ReadTimeoutError as error:
            raise ReadTimeoutError(endpoint_url=url) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ConnectionClosedError(endpoint_url=url) from error

    def _authorized(self, path: str, headers: Mapping[str, str], body: bytes, token: str | None) -> dict[str, str]:
        if token is not None:
            return {**headers, "authorization": f"Bearer {token}"}
        if self._credentials is None:
            raise NoCredentialsError
        credentials = self._credentials.get_frozen_credentials()
        return self._signer.signed(path, headers, body, credentials, time.time() + self._skew)

    def _has_other_clock(self, response: urllib3.BaseHTTPResponse) -> bool:
        """Whether the time of the server differs much from that of the signature. From now on it is used."""
        from email.utils import parsedate_to_datetime  # only after an error

        with suppress(KeyError, ValueError):
            skew = parsedate_to_datetime(response.headers["date"]).timestamp() - time.time()
            if abs(skew - self._skew) > MAX_SKEW:
                self._skew = skew
                return True
        return False


def to_json(request: Mapping[str, Any]) -> bytes:
    """The body of a request. Bytes become base64."""
    return json.dumps(request, default=_base64, separators=(",", ":")).encode()


def client_error(operation: str, response: urllib3.BaseHTTPResponse) -> ClientError:
    """The error of a response, in the form of boto3."""
    try:
        body = json.loads(response.data)
    except ValueError:  # from a proxy
        body = {}
    fields = body if isinstance(body, dict) else {}
    kind = response.headers.get("x-amzn-errortype") or fields.pop("__type", None) or fields.pop("code", None)
    code = str(kind or response.status).rpartition("#")[2].partition(":")[0]
    message = str(fields.pop("message", None) or fields.pop("Message", None) or "")
    metadata = {"HTTPStatusCode": response.status, "RequestId": response.headers.get("x-amzn-requestid", "")}
    parsed: Any = {**fields, "Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}
    return ClientError(parsed, operation)


def _endpoint(name: str, region: str) -> str:
    """The endpoint in the environment, else https://docs.aws.amazon.com/general/latest/gr/rande.html."""
    environ = os.environ
    if named := environ.get(f"AWS_ENDPOINT_URL_{name.upper().replace('-', '_')}") or environ.get("AWS_ENDPOINT_URL"):
        return named
    has_fips_name = not (region.startswith("us-gov-") and name in _FIPS_BY_DEFAULT)
    fips = "-fips" if environ.get("AWS_USE_FIPS_ENDPOINT", "").lower() == "true" and has_fips_name else ""
    ipv4_only, dual_stack = _DOMAINS.get(region.partition("-")[0], ("amazonaws.com", "api.aws"))
    domain = dual_stack if environ.get("AWS_USE_DUALSTACK_ENDPOINT", "").lower() == "true" else ipv4_only
    return f"https://{name}{fips}.{region}.{domain}"


def _base64(value: object) -> str:
    if isinstance(value, (bytes, bytearray)):
        return b64encode(value).decode()
    raise TypeError
