"""The public keys of an issuer (RFC 7517), found by OpenID Connect Discovery and cached.

The client of PyJWT is not used: it requests the keys again for every unknown key id, follows redirects to any host,
reads responses of any size, and rejects all tokens while the issuer does not respond.
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

FRESH_SECONDS = 3600.0  # until the keys are requested again
RETRY_SECONDS = 60.0  # between two requests, also after a success: tokens may have invented key ids
EMPTY_RETRY_SECONDS = 5.0  # the same while there are no keys
REQUEST_TIMEOUT = urllib3.Timeout(total=2.0)  # for each of the two documents
MAX_DOCUMENT_BYTES = 256 * 1024

Jwk = Mapping[str, Any]


class UnknownKey(jwt.InvalidKeyError):
    """The cached keys of the issuer do not have this id."""


class IssuerKeys:
    """The keys of one issuer by id. `url` is their address; if it is empty, discovery finds it.

    The first request is made by the first `find`. Threads may share an object. `clock` is the wall clock, because the
    monotonic clock stops while the sandbox is frozen.
    """

    def __init__(self, issuer: str, url: str = "", clock: Callable[[], float] = time.time) -> None:
        self._issuer = issuer
        self._url = url
        self._clock = clock
        self._http = urllib3.PoolManager(timeout=REQUEST_TIMEOUT, retries=False)
        self._lock = threading.Lock()
        self._keys: Mapping[str, Jwk] = {}
        self._fresh_until = self._refresh_after = clock()

    def find(self, key_id: str) -> Jwk:
        """Returns the key with this id. Raises UnknownKey."""
        if key_id not in self._keys or self._clock() >= self._fresh_until:
            self._refresh()
        try:
            return self._keys[key_id]
        except KeyError:
            raise UnknownKey from None

    def _refresh(self) -> None:
        """Requests the keys, unless that was tried a moment ago. If the issuer fails, the cached keys stay valid."""
        with self._lock:
            now = self._clock()
            if now < self._refresh_after:
                return
            try:
                self._keys = self._fetch()
                self._fresh_until = now + FRESH_SECONDS
            except Exception as error:  # the response may be wrong in any way: the cached keys stay
                logger.warning("issuer keys not fetched", extra={"reason": type(error).__name__})
            self._refresh_after = now + (RETRY_SECONDS if self._keys else EMPTY_RETRY_SECONDS)

    def _fetch(self) -> dict[str, Jwk]:
        try:
            keys = self._get(self._url or self._discover_url())["keys"]
        finally:
            self._http.clear()  # the server may drop the connection before the next refresh
        signing = {key["kid"]: key for key in keys if "kid" in key and key.get("use", "sig") == "sig"}
        if not signing:
            raise ValueError("no key for signatures")
        return signing

    def _discover_url(self) -> str:
        """https://openid.net/specs/openid-connect-discovery-1_0.html"""
        document = self._get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if document["issuer"] != self._issuer:
            raise ValueError("the document is of another issuer")
        url: str = document["jwks_uri"]
        return url

    def _get(self, url: str) -> Any:
        if not SECURE_URL.fullmatch(url):
            raise ValueError("the URL is not https")
        response = self._http.request("GET", url, redirect=False, preload_content=False)
        with contextlib.closing(response):
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            body = response.read(MAX_DOCUMENT_BYTES + 1)
        if len(body) > MAX_DOCUMENT_BYTES:
            raise ValueError("the document is too large")
        return json.loads(body)
