"""`--auth iam`, the template's default: callers sign their requests, and the entry points check the signatures."""

import datetime
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, timedelta
from typing import Any
from urllib.parse import quote

import botocore.auth
import httpx
import pytest
from boto3.session import Session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from tests.stack import RunningStack, start_stack, stop_stack

pytestmark = pytest.mark.xdist_group("iam")  # one stack for all

ALICE = Session("AKIALOCALALICE", "local-alice")
BOB = Session("AKIALOCALBOB", "local-bob")
SERVER = Session("ASIALOCALSERVER", "local-server", "local-session")
DOORS = ("url", "gateway", "rest")
BODY = json.dumps({"message": {"text": "Tell me about rivers [[tokens=4 pace=1 first=1]]"}}).encode()
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    running = start_stack("--auth", "iam")
    yield running
    stop_stack(running)


def signed(
    door: str, method: str, url: str, body: bytes = b"", who: Session = ALICE, region: str = "us-east-1", **more: str
) -> dict[str, str]:
    """The headers of a request that boto3's credentials have signed for that door."""
    request = AWSRequest(method, url, data=body, headers={**JSON, **more})
    credentials: Any = who.get_credentials()
    SigV4Auth(credentials, "lambda" if door == "url" else "execute-api", region).add_auth(request)
    return dict(request.headers.items())


def ask(
    stack: RunningStack, door: str, method: str, path: str, body: bytes = b"", who: Session = ALICE
) -> httpx.Response:
    url = getattr(stack, door) + path
    return httpx.request(method, url, content=body, headers=signed(door, method, url, body, who), timeout=30)


@pytest.mark.parametrize("door", DOORS)
def test_a_signed_request_is_answered_to_its_user_at_every_door(stack: RunningStack, door: str) -> None:
    answer = ask(stack, door, "POST", "/chat", BODY)
    assert answer.status_code == 200, answer.text
    if door == "gateway":
        conversation = answer.json()["conversationId"]
    else:
        conversation = json.loads(answer.text.split("data: ")[1].partition("\n")[0])["conversationId"]
    path = f"/conversations/{conversation}"
    assert ask(stack, "gateway", "GET", path).status_code == 200, "one user at all doors"
    assert ask(stack, "gateway", "GET", path, who=BOB).status_code == 404
    assert ask(stack, "gateway", "GET", path, who=SERVER).status_code == 404


@pytest.mark.parametrize("door", DOORS)
def test_a_session_signs_with_its_token(stack: RunningStack, door: str) -> None:
    assert ask(stack, door, "POST", "/chat", BODY, SERVER).status_code == 200


@pytest.mark.parametrize("path", ["/conversations?limit=2&cursor=", f"/conversations?limit=2&x={quote('ü /+')}"])
def test_a_query_is_signed_too(stack: RunningStack, path: str) -> None:
    assert ask(stack, "gateway", "GET", path).status_code in {200, 400}, "not a 403"


def other_time(monkeypatch: pytest.MonkeyPatch, change: timedelta) -> None:
    """botocore's clock, elsewhere."""
    now = datetime.datetime.now(UTC) + change
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda **_: now.replace(tzinfo=None))


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("no signature", "Missing Authentication Token"),
        ("unknown key", "security token included in the request is invalid"),
        ("wrong secret", "signature we calculated"),
        ("no session token", "security token included in the request is invalid"),
        ("wrong region", "scoped to a valid region"),
        ("wrong service", "scoped to correct service"),
        ("expired", "Signature expired"),
        ("of the future", "Signature expired"),
        ("changed body", "signature we calculated"),
        ("changed path", "signature we calculated"),
        ("changed header", "signature we calculated"),
    ],
)
def test_what_is_not_rightly_signed_is_refused_by_the_door(
    stack: RunningStack, door: str, fault: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{getattr(stack, door)}/chat"
    if fault in {"expired", "of the future"}:
        other_time(monkeypatch, timedelta(minutes=-6 if fault == "expired" else 6))
    who = {
        "unknown key": Session("AKIALOCALMALLORY", "local-alice"),
        "wrong secret": Session("AKIALOCALALICE", "local-bob"),
        "no session token": Session("ASIALOCALSERVER", "local-server"),
    }.get(fault, ALICE)
    region = "eu-west-1" if fault == "wrong region" else "us-east-1"
    signed_for = {"url": "gateway"}.get(door, "url") if fault == "wrong service" else door
    headers: Mapping[str, str] = signed(signed_for, "POST", url, BODY, who, region, **{"idempotency-key": "a" * 20})
    body = BODY
    match fault:
        case "no signature":
            headers = JSON
        case "changed body":
            body = BODY.replace(b"rivers", b"oceans")
        case "changed path":
            url += "?stream=false"
        case "changed header":
            headers = {**headers, "idempotency-key": "b" * 20}
    before = sum(each["invocations"] for name in FUNCTIONS for each in stack.environments(name))
    answer = httpx.post(url, content=body, headers=dict(headers), timeout=30)
    assert answer.status_code == 403, answer.text
    assert ("Forbidden" if door == "gateway" else reason) in answer.text, "the door's own words"
    assert sum(each["invocations"] for name in FUNCTIONS for each in stack.environments(name)) == before


FUNCTIONS = ("StreamFunction", "ConverseFunction")


def test_a_preflight_needs_no_signature(stack: RunningStack) -> None:
    origin = stack.demo
    headers = {"origin": origin, "access-control-request-method": "POST"}
    for door in DOORS:
        answer = httpx.options(f"{getattr(stack, door)}/chat", headers=headers)
        assert answer.headers["access-control-allow-origin"] == origin
