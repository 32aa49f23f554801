"""Feature flags: Powertools' rules over a file, and over AppConfig's wire by unmodified boto3."""

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
from converse_stream.flags.feature_flags import (
    DEFAULT_FLAGS,
    FlagProvider,
    UserFlags,
    flags_of,
    share,
)
from converse_stream.protocol.errors import FlagsUnavailable
from converse_stream.settings import Settings

ALICE, BOB = "alice", "bob"


def settings(**given: str) -> Settings:
    return Settings(table_name="chat", auth_mode="dev", url_auth_type="AWS_IAM", **given)  # type: ignore[arg-type]  # strings all


def rule(key: str, action: str, value: Any, match: Any) -> dict[str, Any]:
    return {"some": {"when_match": match, "conditions": [{"action": action, "key": key, "value": value}]}}


def from_file(path: Path, document: Any) -> FlagProvider:
    path.write_text(json.dumps(document), encoding="utf-8")
    return flags_of(settings(flags_file=str(path)))


def test_without_flags_all_is_on() -> None:
    assert flags_of(settings()).for_user(ALICE) == DEFAULT_FLAGS == UserFlags(True, True, True, True, "")


def test_one_user(tmp_path: Path) -> None:
    off = {"default": True, "rules": rule("user", "EQUALS", ALICE, match=False)}
    flags = from_file(tmp_path / "flags.json", {"learning": off})
    assert (flags.for_user(ALICE).learning, flags.for_user(BOB).learning) == (False, True)


def test_a_share_of_users(tmp_path: Path) -> None:
    first_ten = {"BASE": 100, "START": 0, "END": 9}
    some = {"default": "", "boolean_type": False, "rules": rule("share", "MODULO_RANGE", first_ten, "nova-pro")}
    flags = from_file(tmp_path / "flags.json", {"responder": some})
    users = [f"user {number}" for number in range(1000)]
    chosen = [user for user in users if flags.for_user(user).responder == "nova-pro"]
    assert chosen == [user for user in users if share(user) < 10]
    assert 60 < len(chosen) < 140


def test_what_a_flag_cannot_be_is_not_set(tmp_path: Path) -> None:
    odd = {
        "responder": {"default": True},
        "memory": {"default": 1, "boolean_type": False},
        "unknown": {"default": True},
    }
    assert from_file(tmp_path / "flags.json", odd).for_user(ALICE) == DEFAULT_FLAGS


@pytest.mark.parametrize("text", ["", "[]", '{"memory": {}}', '{"memory": {"default": false, "rules": 7}}'])
def test_a_document_that_is_none_changes_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "flags.json"
    path.write_text(text, encoding="utf-8")
    assert flags_of(settings(flags_file=str(path))).for_user(ALICE) == DEFAULT_FLAGS


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_is_known_is_kept_for_its_time_and_outlives_a_failure() -> None:
    clock, documents = Clock(), iter([{"memory": {"default": False}}, None, {"memory": {"default": True}}])
    kept = CachedDocument(lambda: json.loads(json.dumps(next(documents))), clock)
    first = kept.get_configuration()
    clock.now = FRESH_SECONDS - 1
    assert kept.get_configuration() is first
    clock.now = FRESH_SECONDS
    assert kept.get_configuration() is first, "the second document is none"
    clock.now = FRESH_SECONDS + RETRY_SECONDS - 1
    assert kept.get_configuration() is first
    clock.now = FRESH_SECONDS + RETRY_SECONDS
    assert kept.get_configuration() == {"memory": {"default": True}}


def test_a_slow_document_is_not_waited_for_and_counts_when_it_comes() -> None:
    clock, comes, fetched = Clock(), threading.Event(), count()

    def fetch() -> dict[str, Any]:
        next(fetched)
        comes.wait(10)
        return {"memory": {"default": False}}

    flags = FlagProvider(FeatureFlags(CachedDocument(fetch, clock)))
    begun = time.monotonic()
    assert flags.for_user(ALICE) == DEFAULT_FLAGS
    assert time.monotonic() - begun < 5, "SECONDS, and not until it comes"
    with pytest.raises(FlagsUnavailable):
        flags.confirmed_for(ALICE)
    comes.set()
    give_up = time.monotonic() + 5
    while flags.for_user(ALICE).memory and time.monotonic() < give_up:
        time.sleep(0.01)
    assert not flags.confirmed_for(ALICE).memory
    assert next(fetched) == 1, "it was asked for once"


class AppConfig(ThreadingHTTPServer):
    """As much of AppConfig's data plane as is asked for; sessions can be made to be over, and requests to hang.

    https://docs.aws.amazon.com/appconfig/2019-10-09/APIReference/API_Operations_AWS_AppConfig_Data.html
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Door)
        self.document: Any = {"learning": {"default": False}}
        self.asked: list[str] = []
        self.sessions = 0
        self.connections = 0
        self.daemon_threads = True
        self.forgets = False
        self.answers = threading.Event()
        self.answers.set()


class Door(BaseHTTPRequestHandler):
    server: AppConfig
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append(body.decode())
        self.server.sessions += 1
        self.server.forgets = False
        self.answer(201, {}, json.dumps({"InitialConfigurationToken": "token"}).encode())

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.server.forgets:
            self.answer(400, {"x-amzn-errortype": "BadRequestException"}, b'{"Message": "the token has expired"}')
        else:
            document = json.dumps(self.server.document).encode()
            self.answer(200, {"Next-Poll-Configuration-Token": "next"}, document)

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.server.answers.wait(10)
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        with suppress(OSError):  # who asked has given up
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
        server.answers.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def named() -> Settings:
    return settings(appconfig_application="abc1234", appconfig_environment="def5678", appconfig_profile="ghi9012")


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that tests on all its processors answers late."""
    monkeypatch.setattr(source_module, "REFRESH_SECONDS", 10)


@pytest.mark.usefixtures("patience")
def test_appconfig_is_asked_once_and_when_somebody_comes(appconfig: AppConfig, named: Settings) -> None:
    flags = flags_of(named)
    assert appconfig.asked == []
    assert [flags.for_user(user).learning for user in (ALICE, BOB)] == [False, False]
    session, document = appconfig.asked
    assert json.loads(session) == {
        "ApplicationIdentifier": "abc1234",
        "EnvironmentIdentifier": "def5678",
        "ConfigurationProfileIdentifier": "ghi9012",
    }
    assert document == "/configuration?configuration_token=token"


@pytest.mark.usefixtures("patience")
def test_a_session_that_is_over_begins_anew(appconfig: AppConfig, named: Settings) -> None:
    source = source_module.AppConfig(named)
    assert source.fetch() == appconfig.document
    appconfig.forgets = True
    with pytest.raises(Exception, match="AppConfig"):
        source.fetch()
    assert source.fetch() == appconfig.document
    assert appconfig.sessions == 2


def test_one_that_hangs_is_given_up_and_left_alone(appconfig: AppConfig, named: Settings) -> None:
    flags, threads = flags_of(named), threading.active_count()
    appconfig.answers.clear()
    begun = time.monotonic()
    assert flags.for_user(ALICE) == DEFAULT_FLAGS
    assert time.monotonic() - begun < 5, "its time-outs, not the server's ten seconds"
    asked = len(appconfig.asked)
    assert flags.for_user(BOB) == DEFAULT_FLAGS
    assert len(appconfig.asked) == asked == 1
    appconfig.answers.set()
    give_up = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < give_up:  # the server's own
        time.sleep(0.02)
    assert threading.active_count() <= threads
