"""An issuer's public keys (RFC 7517), found by OpenID Connect's discovery and kept while it does not answer.

PyJWT's own client is not used: it asks again for every unknown key, follows redirects to anywhere, reads answers of
any size, and lets nobody in while the issuer is down.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import urllib3

from converse_stream.settings import SECURE_URL
from converse_stream.telemetry import logger

FRESH_SECONDS = 3600.0  # seconds until the keys are asked for again
RETRY_SECONDS = 60.0  # seconds between two times, whatever came of the first: key ids can be invented
EMPTY_RETRY_SECONDS = 5.0  # the same while we have no keys at all
REQUEST_TIMEOUT = urllib3.Timeout(total=2.0)  # for each of the two documents
MAX_DOCUMENT_BYTES = 256 * 1024  # bytes of a document

Jwk = Mapping[str, Any]


class UnknownKey(jwt.InvalidKeyError):
    """The issuer has no such key, as far as we know."""


class IssuerKeys:
    """The keys of one issuer by their ids. `url` is where they are; without it, discovery says so.

    Nothing is asked before the first `find`. Threads may share it. `clock` is the wall clock, because the monotonic
    clock stands still while the sandbox is frozen.
    """

    def __init__(self, issuer: str, url: str = "", clock: Callable[[], float] = time.time) -> None:
        self._issuer = issuer
        self._url = url
        self._clock = clock
        self._http = urllib3.PoolManager(timeout=REQUEST_TIMEOUT, retries=False)
        self._lock = threading.Lock()
        self._keys: Mapping[str, Jwk] = {}
        self._fresh_until = self._asked_again = clock()

    def find(self, key_id: str) -> Jwk:
        """The key with this id. Raises UnknownKey."""
        if key_id not in self._keys or self._clock() >= self._fresh_until:
            self._refresh()
        try:
            return self._keys[key_id]
        except KeyError:
            raise UnknownKey from None

    def _refresh(self) -> None:
        """Asks for the keys, unless it was just tried. What we have outlives an issuer that does not answer."""
        with self._lock:
            now = self._clock()
            if now < self._asked_again:
                return
            try:
                self._keys = self._fetch()
                self._fresh_until = now + FRESH_SECONDS
            except Exception as error:  # whatever is wrong with the answer, known keys must go on to work
                logger.warning("the issuer's keys did not come", extra={"reason": type(error).__name__})
            self._asked_again = now + (RETRY_SECONDS if self._keys else EMPTY_RETRY_SECONDS)

    def _fetch(self) -> dict[str, Jwk]:
        try:
            keys = self._get(self._url or self._discovered())["keys"]
        finally:
            self._http.clear()  # an hour later the other side may have dropped the connection
        signing = {key["kid"]: key for key in keys if "kid" in key and key.get("use", "sig") == "sig"}
        if not signing:
            raise ValueError("no keys to check signatures with")
        return signing

    def _discovered(self) -> str:
        """https://openid.net/specs/openid-connect-discovery-1_0.html"""
        document = self._get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if document["issuer"] != self._issuer:
            raise ValueError("this is another issuer's")
        url: str = document["jwks_uri"]
        return url

    def _get(self, url: str) -> Any:
        if not SECURE_URL.fullmatch(url):
            raise ValueError("this address is not secure")
        answer = self._http.request("GET", url, redirect=False, preload_content=False)
        with contextlib.closing(answer):
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
            body = answer.read(MAX_DOCUMENT_BYTES + 1)
        if len(body) > MAX_DOCUMENT_BYTES:
            raise ValueError("the document is too large")
        return json.loads(body)
