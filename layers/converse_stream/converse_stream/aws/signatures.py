"""Signature version 4 of requests, with the key of a day kept. Pure.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"


class Signer:
    """Signs the requests to one service in one region. Threads may share it."""

    def __init__(self, service: str, region: str) -> None:
        self._service = service
        self._region = region
        self._kept: tuple[tuple[str, str], bytes] = (("", ""), b"")

    def signed(self, path: str, headers: Mapping[str, str], body: bytes, credentials: Any, at: float) -> dict[str, str]:
        """The headers of a POST request with its time, token and signature.

        `path` is percent-encoded. The names of `headers` are in lower case. `credentials` are frozen ones of botocore,
        and `at` is in seconds since the epoch.
        """
        time = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
        token = {"x-amz-security-token": credentials.token} if credentials.token else {}
        signed = dict(sorted({**headers, "x-amz-date": time, **token}.items()))
        names = ";".join(signed)
        lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
        canonical = f"POST\n{quote(path)}\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{time[:8]}/{self._region}/{self._service}/aws4_request"
        text = f"{ALGORITHM}\n{time}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key(credentials.secret_key, time[:8]), text.encode(), "sha256").hex()
        credential = f"Credential={credentials.access_key}/{scope}"
        signed["authorization"] = f"{ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"
        return signed

    def _key(self, secret: str, date: str) -> bytes:
        owner, key = self._kept
        if owner != (secret, date):
            key = f"AWS4{secret}".encode()
            for part in (date, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._kept = ((secret, date), key)
        return key
