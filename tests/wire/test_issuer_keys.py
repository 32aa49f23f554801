"""The issuer's keys over real sockets: found, kept, asked for again, and never lost to an issuer that is down."""

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
    """Answers a path with its document; with `status`, or after `delay` seconds, when that is set.

    It keeps connections open, as real ones do, and counts them.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.documents: dict[str, Any] = {DISCOVERY: {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}}
        self.asked: list[str] = []
        self.connections = 0
        self.status = 200
        self.delay = 0.0
        self.publish("one")

    def publish(self, *key_ids: str, **fields: str) -> None:
        self.documents["/keys"] = {"keys": [{"kty": "RSA", "kid": key_id, **fields} for key_id in key_ids]}

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Issuer

    def do_GET(self) -> None:
        issuer = self.server
        issuer.asked.append(self.path)
        time.sleep(issuer.delay)
        document = issuer.documents[self.path]
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(issuer.status)
        if issuer.status == 302:
            self.send_header("location", "/elsewhere")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name for it
        pass


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
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


def test_discovery_leads_to_them_at_the_first_need(issuer: Issuer, keys: IssuerKeys) -> None:
    assert issuer.asked == []
    assert keys.find("one") == {"kty": "RSA", "kid": "one"}
    assert issuer.asked == [DISCOVERY, "/keys"]
    assert keys.find("one")
    assert len(issuer.asked) == 2


def test_an_address_of_its_own_needs_no_discovery(issuer: Issuer, clock: Clock) -> None:
    assert is_known(IssuerKeys("https://issuer.example", f"{issuer.url}/keys", clock), "one")
    assert issuer.asked == ["/keys"]


def test_they_are_asked_for_again_after_an_hour(issuer: Issuer, keys: IssuerKeys, clock: Clock) -> None:
    assert is_known(keys, "one")
    issuer.publish("two")
    clock.pass_by(FRESH_SECONDS - 1)
    assert is_known(keys, "one")
    clock.pass_by(1)
    assert not is_known(keys, "one")  # the issuer has taken it back
    assert is_known(keys, "two")


def test_keys_age_while_the_sandbox_is_frozen(issuer: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two invocations the wall clock goes on and the monotonic clock stands still."""
    monkeypatch.setattr(time, "time", clock)
    monkeypatch.setattr(time, "monotonic", lambda: 1.0)
    found = importlib.util.find_spec("converse_stream.auth.jwks")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)  # loaded again: defaults are made when a module is
    found.loader.exec_module(module)
    keys = module.IssuerKeys(issuer.url)
    assert keys.find("one")
    issuer.publish("two")
    clock.pass_by(FRESH_SECONDS)
    with pytest.raises(module.UnknownKey):
        keys.find("one")


def test_a_connection_is_not_kept_until_the_keys_are_old(issuer: Issuer, keys: IssuerKeys, clock: Clock) -> None:
    """One that the other side has dropped unseen would cost the time-out, and the keys that it was to bring."""
    assert is_known(keys, "one")
    before = issuer.connections
    clock.pass_by(FRESH_SECONDS)
    assert is_known(keys, "one")
    assert issuer.connections == before + 1, "one for both documents"


def test_an_unknown_one_is_looked_for_but_not_more_than_once_a_minute(
    issuer: Issuer, keys: IssuerKeys, clock: Clock
) -> None:
    assert is_known(keys, "one")
    issuer.publish("one", "two")
    for number in range(100):
        assert not is_known(keys, f"invented {number}")
    assert not is_known(keys, "two")
    assert issuer.asked.count("/keys") == 1
    clock.pass_by(RETRY_SECONDS)
    assert is_known(keys, "two")
    assert issuer.asked.count("/keys") == 2


def test_many_at_once_ask_once(issuer: Issuer, keys: IssuerKeys) -> None:
    issuer.delay = 0.05
    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(lambda _: is_known(keys, "one"), range(20)))
    assert issuer.asked == [DISCOVERY, "/keys"]


@pytest.mark.parametrize("fault", ["refused", "status", "redirect", "html", "empty", "too large", "not a set", "slow"])
def test_known_keys_outlive_an_issuer_that_does_not_answer(
    issuer: Issuer, keys: IssuerKeys, clock: Clock, fault: str
) -> None:
    assert is_known(keys, "one")
    good = issuer.documents["/keys"]
    faults: dict[str, Any] = {
        "html": b"<html>",
        "empty": {"keys": []},
        "too large": {**good, "padding": "a" * MAX_DOCUMENT_BYTES},
        "not a set": [1, 2],
    }
    issuer.documents["/keys"] = faults.get(fault, good)
    issuer.documents["/elsewhere"] = good
    issuer.status = {"status": 503, "redirect": 302}.get(fault, 200)
    issuer.delay = 3 if fault == "slow" else 0
    if fault == "refused":
        issuer.socket.close()
    clock.pass_by(FRESH_SECONDS)
    for _ in range(3):
        assert is_known(keys, "one")
        assert not is_known(keys, "two")
    if fault != "refused":
        assert "/elsewhere" not in issuer.asked
        asked = len(issuer.asked)
        assert 3 <= asked <= 4  # once more, whoever asked
        clock.pass_by(RETRY_SECONDS)
        issuer.documents["/keys"], issuer.status, issuer.delay = good, 200, 0
        assert is_known(keys, "one")
        assert len(issuer.asked) == asked + 2


def test_while_there_are_none_they_are_asked_for_sooner(issuer: Issuer, keys: IssuerKeys, clock: Clock) -> None:
    issuer.status = 500
    assert not is_known(keys, "one")
    issuer.status = 200
    assert not is_known(keys, "one")
    clock.pass_by(EMPTY_RETRY_SECONDS)
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
def test_a_discovery_that_is_not_the_issuers_own_is_not_followed(
    issuer: Issuer, keys: IssuerKeys, discovered: Any
) -> None:
    text = json.dumps(discovered).replace("ISSUER", issuer.url).replace("KEYS", f"{issuer.url}/keys")
    issuer.documents[DISCOVERY] = text.encode()
    assert not is_known(keys, "one")
    assert issuer.asked == [DISCOVERY]


def test_keys_for_something_else_are_left_out(issuer: Issuer, keys: IssuerKeys) -> None:
    issuer.publish("one", use="enc")
    issuer.documents["/keys"]["keys"] += [{"kty": "RSA"}, {"kty": "RSA", "kid": "two", "use": "sig"}]
    assert not is_known(keys, "one")
    assert is_known(keys, "two")
