"""Feature flags: Powertools' rules from a file, and from AppConfig by unmodified boto3."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.utilities.feature_flags import FeatureFlags

from converse_stream.flags import appconfig as source_module
from converse_stream.flags.appconfig import FRESH_SECONDS, RETRY_SECONDS, CachedDocument
from converse_stream.flags.feature_flags import DEFAULT_FLAGS, FlagProvider, UserFlags, flags_of, share
from converse_stream.protocol.errors import FlagsUnavailable
from converse_stream.settings import Settings

ALICE, BOB = "alice", "bob"


def settings(**given: str) -> Settings:
    return Settings(table_name="chat", auth_mode="dev", url_auth_type="AWS_IAM", **given)  # type: ignore[arg-type]  # all strings


def rule(key: str, action: str, value: Any, match: Any) -> dict[str, Any]:
    return {"some": {"when_match": match, "conditions": [{"action": action, "key": key, "value": value}]}}


def from_file(path: Path, document: Any) -> FlagProvider:
    path.write_text(json.dumps(document), encoding="utf-8")
    return flags_of(settings(flags_file=str(path)))


def test_all_flags_are_on_without_a_configuration() -> None:
    assert flags_of(settings()).for_user(ALICE) == DEFAULT_FLAGS == UserFlags(True, True, True, True, "")


def test_a_flag_can_be_off_for_one_user(tmp_path: Path) -> None:
    off = {"default": True, "rules": rule("user", "EQUALS", ALICE, match=False)}
    flags = from_file(tmp_path / "flags.json", {"learning": off})
    assert (flags.for_user(ALICE).learning, flags.for_user(BOB).learning) == (False, True)


def test_a_flag_can_apply_to_a_share_of_users(tmp_path: Path) -> None:
    first_ten = {"BASE": 100, "START": 0, "END": 9}
    some = {"default": "", "boolean_type": False, "rules": rule("share", "MODULO_RANGE", first_ten, "nova-pro")}
    flags = from_file(tmp_path / "flags.json", {"responder": some})
    users = [f"user {number}" for number in range(1000)]
    matching = [user for user in users if flags.for_user(user).responder == "nova-pro"]
    assert matching == [user for user in users if share(user) < 10]
    assert 60 < len(matching) < 140


def test_invalid_flag_values_are_ignored(tmp_path: Path) -> None:
    odd = {
        "responder": {"default": True},
        "memory": {"default": 1, "boolean_type": False},
        "unknown": {"default": True},
    }
    assert from_file(tmp_path / "flags.json", odd).for_user(ALICE) == DEFAULT_FLAGS


@pytest.mark.parametrize("text", ["", "[]", '{"memory": {}}', '{"memory": {"default": false, "rules": 7}}'])
def test_an_invalid_document_keeps_the_default_flags(tmp_path: Path, text: str) -> None:
    path = tmp_path / "flags.json"
    path.write_text(text, encoding="utf-8")
    assert flags_of(settings(flags_file=str(path))).for_user(ALICE) == DEFAULT_FLAGS


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_document_is_cached_and_kept_after_a_failed_fetch() -> None:
    clock, documents = Clock(), iter([{"memory": {"default": False}}, None, {"memory": {"default": True}}])
    cached = CachedDocument(lambda: json.loads(json.dumps(next(documents))), clock)
    first = cached.get_configuration()
    clock.now = FRESH_SECONDS - 1
    assert cached.get_configuration() is first
    clock.now = FRESH_SECONDS
    assert cached.get_configuration() is first, "the second document is invalid"
    clock.now = FRESH_SECONDS + RETRY_SECONDS - 1
    assert cached.get_configuration() is first
    clock.now = FRESH_SECONDS + RETRY_SECONDS
    assert cached.get_configuration() == {"memory": {"default": True}}


def test_a_slow_document_applies_when_it_is_received() -> None:
    clock, available, fetches = Clock(), threading.Event(), count()

    def fetch() -> dict[str, Any]:
        next(fetches)
        available.wait(10)
        return {"memory": {"default": False}}

    flags = FlagProvider(FeatureFlags(CachedDocument(fetch, clock)))
    started_at = time.monotonic()
    assert flags.for_user(ALICE) == DEFAULT_FLAGS
    assert time.monotonic() - started_at < 5, "after SECONDS, not when the document is available"
    with pytest.raises(FlagsUnavailable):
        flags.confirmed_for(ALICE)
    available.set()
    deadline = time.monotonic() + 5
    while flags.for_user(ALICE).memory and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not flags.confirmed_for(ALICE).memory
    assert next(fetches) == 1, "one fetch"


class AppConfig(ThreadingHTTPServer):
    """The AppConfig data plane calls that the client uses. Sessions can expire, and requests can hang.

    https://docs.aws.amazon.com/appconfig/2019-10-09/APIReference/API_Operations_AWS_AppConfig_Data.html
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.document: Any = {"learning": {"default": False}}
        self.requests: list[str] = []
        self.sessions = 0
        self.connections = 0
        self.daemon_threads = True
        self.session_expired = False
        self.responding = threading.Event()
        self.responding.set()


class Handler(BaseHTTPRequestHandler):
    server: AppConfig
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append(body.decode())
        self.server.sessions += 1
        self.server.session_expired = False
        self.answer(201, {}, json.dumps({"InitialConfigurationToken": "token"}).encode())

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        if self.server.session_expired:
            self.answer(400, {"x-amzn-errortype": "BadRequestException"}, b'{"Message": "the token has expired"}')
        else:
            document = json.dumps(self.server.document).encode()
            self.answer(200, {"Next-Poll-Configuration-Token": "next"}, document)

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.server.responding.wait(10)
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        with suppress(OSError):  # the client has timed out
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def appconfig(monkeypatch: pytest.MonkeyPatch) -> Iterator[AppConfig]:
    with AppConfig() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_APPCONFIGDATA", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.responding.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def configured() -> Settings:
    return settings(appconfig_application="abc1234", appconfig_environment="def5678", appconfig_profile="ghi9012")


@pytest.fixture
def long_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy test machine responds late."""
    monkeypatch.setattr(source_module, "REFRESH_SECONDS", 10)


@pytest.mark.usefixtures("long_timeout")
def test_appconfig_is_requested_once_at_the_first_user(appconfig: AppConfig, configured: Settings) -> None:
    flags = flags_of(configured)
    assert appconfig.requests == []
    assert [flags.for_user(user).learning for user in (ALICE, BOB)] == [False, False]
    session, document = appconfig.requests
    assert json.loads(session) == {
        "ApplicationIdentifier": "abc1234",
        "EnvironmentIdentifier": "def5678",
        "ConfigurationProfileIdentifier": "ghi9012",
    }
    assert document == "/configuration?configuration_token=token"


@pytest.mark.usefixtures("long_timeout")
def test_an_expired_session_is_started_again(appconfig: AppConfig, configured: Settings) -> None:
    source = source_module.AppConfig(configured)
    assert source.fetch() == appconfig.document
    appconfig.session_expired = True
    with pytest.raises(Exception, match="AppConfig"):
        source.fetch()
    assert source.fetch() == appconfig.document
    assert appconfig.sessions == 2


def test_a_hanging_appconfig_times_out_and_is_not_requested_again(appconfig: AppConfig, configured: Settings) -> None:
    flags, threads = flags_of(configured), threading.active_count()
    appconfig.responding.clear()
    started_at = time.monotonic()
    assert flags.for_user(ALICE) == DEFAULT_FLAGS
    assert time.monotonic() - started_at < 5, "after the client's timeouts, not the server's ten seconds"
    requests = len(appconfig.requests)
    assert flags.for_user(BOB) == DEFAULT_FLAGS
    assert len(appconfig.requests) == requests == 1
    appconfig.responding.set()
    deadline = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < deadline:  # threads of the server
        time.sleep(0.02)
    assert threading.active_count() <= threads
