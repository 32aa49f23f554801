"""The issuer's keys over real sockets: discovery, caching, refresh, and failures of the issuer."""

import http.server
import importlib.util
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from converse_stream.auth.jwks import (
    EMPTY_RETRY_SECONDS,
    FRESH_SECONDS,
    MAX_DOCUMENT_BYTES,
    RETRY_SECONDS,
    IssuerKeys,
    UnknownKey,
)

DISCOVERY = "/.well-known/openid-configuration"


class Issuer(http.server.ThreadingHTTPServer):
    """Responds to a path with its document, with `status` and after `delay` seconds.

    It keeps connections open and counts them, as real issuers do.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.documents: dict[str, Any] = {DISCOVERY: {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}}
        self.requests: list[str] = []
        self.connections = 0
        self.status = 200
        self.delay = 0.0
        self.publish("one")

    def publish(self, *key_ids: str, **fields: str) -> None:
        self.documents["/keys"] = {"keys": [{"kty": "RSA", "kid": key_id, **fields} for key_id in key_ids]}

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Issuer

    def do_GET(self) -> None:
        issuer = self.server
        issuer.requests.append(self.path)
        time.sleep(issuer.delay)
        document = issuer.documents[self.path]
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(issuer.status)
        if issuer.status == 302:
            self.send_header("location", "/redirected")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name for it
        pass


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(issuer: Issuer, clock: Clock) -> IssuerKeys:
    return IssuerKeys(issuer.url, clock=clock)


def is_known(keys: IssuerKeys, key_id: str) -> bool:
    try:
        return bool(keys.find(key_id)["kid"] == key_id)
    except UnknownKey:
        return False


def test_keys_are_discovered_at_their_first_use(issuer: Issuer, keys: IssuerKeys) -> None:
    assert issuer.requests == []
    assert keys.find("one") == {"kty": "RSA", "kid": "one"}
    assert issuer.requests == [DISCOVERY, "/keys"]
    assert keys.find("one")
    assert len(issuer.requests) == 2


def test_a_configured_jwks_url_needs_no_discovery(issuer: Issuer, clock: Clock) -> None:
    assert is_known(IssuerKeys("https://issuer.example", f"{issuer.url}/keys", clock), "one")
    assert issuer.requests == ["/keys"]


def test_keys_are_fetched_again_after_an_hour(issuer: Issuer, keys: IssuerKeys, clock: Clock) -> None:
    assert is_known(keys, "one")
    issuer.publish("two")
    clock.advance(FRESH_SECONDS - 1)
    assert is_known(keys, "one")
    clock.advance(1)
    assert not is_known(keys, "one")  # the issuer has removed it
    assert is_known(keys, "two")


def test_keys_expire_while_the_environment_is_frozen(
    issuer: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two invocations, the wall clock advances and the monotonic clock does not."""
    monkeypatch.setattr(time, "time", clock)
    monkeypatch.setattr(time, "monotonic", lambda: 1.0)
    spec = importlib.util.find_spec("converse_stream.auth.jwks")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)  # loaded again, because defaults are evaluated at import
    spec.loader.exec_module(module)
    keys = module.IssuerKeys(issuer.url)
    assert keys.find("one")
    issuer.publish("two")
    clock.advance(FRESH_SECONDS)
    with pytest.raises(module.UnknownKey):
        keys.find("one")


def test_keys_are_refreshed_on_a_new_connection(issuer: Issuer, keys: IssuerKeys, clock: Clock) -> None:
    """A connection that the issuer has dropped would end in a timeout, without new keys."""
    assert is_known(keys, "one")
    before = issuer.connections
    clock.advance(FRESH_SECONDS)
    assert is_known(keys, "one")
    assert issuer.connections == before + 1, "one connection for both documents"


def test_an_unknown_key_id_fetches_the_keys_at_most_once_a_minute(
    issuer: Issuer, keys: IssuerKeys, clock: Clock
) -> None:
    assert is_known(keys, "one")
    issuer.publish("one", "two")
    for number in range(100):
        assert not is_known(keys, f"invented {number}")
    assert not is_known(keys, "two")
    assert issuer.requests.count("/keys") == 1
    clock.advance(RETRY_SECONDS)
    assert is_known(keys, "two")
    assert issuer.requests.count("/keys") == 2


def test_concurrent_lookups_fetch_the_keys_once(issuer: Issuer, keys: IssuerKeys) -> None:
    issuer.delay = 0.05
    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(lambda _: is_known(keys, "one"), range(20)))
    assert issuer.requests == [DISCOVERY, "/keys"]


@pytest.mark.parametrize("fault", ["refused", "status", "redirect", "html", "empty", "too large", "not a set", "slow"])
def test_known_keys_are_kept_while_the_issuer_fails(issuer: Issuer, keys: IssuerKeys, clock: Clock, fault: str) -> None:
    assert is_known(keys, "one")
    valid = issuer.documents["/keys"]
    faults: dict[str, Any] = {
        "html": b"<html>",
        "empty": {"keys": []},
        "too large": {**valid, "padding": "a" * MAX_DOCUMENT_BYTES},
        "not a set": [1, 2],
    }
    issuer.documents["/keys"] = faults.get(fault, valid)
    issuer.documents["/redirected"] = valid
    issuer.status = {"status": 503, "redirect": 302}.get(fault, 200)
    issuer.delay = 3 if fault == "slow" else 0
    if fault == "refused":
        issuer.socket.close()
    clock.advance(FRESH_SECONDS)
    for _ in range(3):
        assert is_known(keys, "one")
        assert not is_known(keys, "two")
    if fault != "refused":
        assert "/redirected" not in issuer.requests
        requests = len(issuer.requests)
        assert 3 <= requests <= 4  # one refresh for all lookups
        clock.advance(RETRY_SECONDS)
        issuer.documents["/keys"], issuer.status, issuer.delay = valid, 200, 0
        assert is_known(keys, "one")
        assert len(issuer.requests) == requests + 2


def test_missing_keys_are_fetched_again_sooner(issuer: Issuer, keys: IssuerKeys, clock: Clock) -> None:
    issuer.status = 500
    assert not is_known(keys, "one")
    issuer.status = 200
    assert not is_known(keys, "one")
    clock.advance(EMPTY_RETRY_SECONDS)
    assert is_known(keys, "one")


@pytest.mark.parametrize(
    "discovered",
    [
        {"issuer": "https://other.example", "jwks_uri": "KEYS"},
        {"jwks_uri": "KEYS"},
        {"issuer": "ISSUER", "jwks_uri": "http://keys.example/keys"},
        {"issuer": "ISSUER", "jwks_uri": "file:///etc/passwd"},
        {"issuer": "ISSUER", "jwks_uri": 7},
        {"issuer": "ISSUER"},
        [],
    ],
)
def test_an_invalid_discovery_document_is_not_followed(issuer: Issuer, keys: IssuerKeys, discovered: Any) -> None:
    text = json.dumps(discovered).replace("ISSUER", issuer.url).replace("KEYS", f"{issuer.url}/keys")
    issuer.documents[DISCOVERY] = text.encode()
    assert not is_known(keys, "one")
    assert issuer.requests == [DISCOVERY]


def test_keys_for_other_uses_are_ignored(issuer: Issuer, keys: IssuerKeys) -> None:
    issuer.publish("one", use="enc")
    issuer.documents["/keys"]["keys"] += [{"kty": "RSA"}, {"kty": "RSA", "kid": "two", "use": "sig"}]
    assert not is_known(keys, "one")
    assert is_known(keys, "two")
