"""`--auth iam`, the template's default: users sign their requests, and the entry points check the signatures."""

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

pytestmark = pytest.mark.xdist_group("iam")  # one stack for all tests

ALICE = Session("AKIALOCALALICE", "local-alice")
BOB = Session("AKIALOCALBOB", "local-bob")
SERVER = Session("ASIALOCALSERVER", "local-server", "local-session")
ENTRY_POINTS = ("url", "gateway", "rest")
BODY = json.dumps({"message": {"text": "Tell me about rivers [[tokens=4 pace=1 first=1]]"}}).encode()
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    running = start_stack("--auth", "iam")
    yield running
    stop_stack(running)


def signed(
    entry_point: str,
    method: str,
    url: str,
    body: bytes = b"",
    session: Session = ALICE,
    region: str = "us-east-1",
    **more: str,
) -> dict[str, str]:
    """Returns the headers of a request that botocore has signed for this entry point."""
    request = AWSRequest(method, url, data=body, headers={**JSON, **more})
    credentials: Any = session.get_credentials()
    SigV4Auth(credentials, "lambda" if entry_point == "url" else "execute-api", region).add_auth(request)
    return dict(request.headers.items())


def ask(
    stack: RunningStack, entry_point: str, method: str, path: str, body: bytes = b"", session: Session = ALICE
) -> httpx.Response:
    url = getattr(stack, entry_point) + path
    return httpx.request(method, url, content=body, headers=signed(entry_point, method, url, body, session), timeout=30)


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_a_signed_request_is_answered_at_every_entry_point(stack: RunningStack, entry_point: str) -> None:
    answer = ask(stack, entry_point, "POST", "/chat", BODY)
    assert answer.status_code == 200, answer.text
    if entry_point == "gateway":
        conversation = answer.json()["conversationId"]
    else:
        conversation = json.loads(answer.text.split("data: ")[1].partition("\n")[0])["conversationId"]
    path = f"/conversations/{conversation}"
    assert ask(stack, "gateway", "GET", path).status_code == 200, "the same user at all entry points"
    assert ask(stack, "gateway", "GET", path, session=BOB).status_code == 404
    assert ask(stack, "gateway", "GET", path, session=SERVER).status_code == 404


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_a_session_token_is_accepted_at_every_entry_point(stack: RunningStack, entry_point: str) -> None:
    assert ask(stack, entry_point, "POST", "/chat", BODY, SERVER).status_code == 200


@pytest.mark.parametrize("path", ["/conversations?limit=2&cursor=", f"/conversations?limit=2&x={quote('ü /+')}"])
def test_a_signed_query_is_accepted(stack: RunningStack, path: str) -> None:
    assert ask(stack, "gateway", "GET", path).status_code in {200, 400}, "not a 403"


def shift_clock(monkeypatch: pytest.MonkeyPatch, change: timedelta) -> None:
    """Shifts botocore's clock."""
    now = datetime.datetime.now(UTC) + change
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda **_: now.replace(tzinfo=None))


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
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
        ("in the future", "Signature expired"),
        ("changed body", "signature we calculated"),
        ("changed path", "signature we calculated"),
        ("changed header", "signature we calculated"),
    ],
)
def test_an_invalid_signature_is_refused_by_the_entry_point(
    stack: RunningStack, entry_point: str, fault: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{getattr(stack, entry_point)}/chat"
    if fault in {"expired", "in the future"}:
        shift_clock(monkeypatch, timedelta(minutes=-6 if fault == "expired" else 6))
    session = {
        "unknown key": Session("AKIALOCALMALLORY", "local-alice"),
        "wrong secret": Session("AKIALOCALALICE", "local-bob"),
        "no session token": Session("ASIALOCALSERVER", "local-server"),
    }.get(fault, ALICE)
    region = "eu-west-1" if fault == "wrong region" else "us-east-1"
    signed_for = {"url": "gateway"}.get(entry_point, "url") if fault == "wrong service" else entry_point
    headers: Mapping[str, str] = signed(signed_for, "POST", url, BODY, session, region, **{"idempotency-key": "a" * 20})
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
    before = sum(environment["invocations"] for name in FUNCTIONS for environment in stack.environments(name))
    answer = httpx.post(url, content=body, headers=dict(headers), timeout=30)
    assert answer.status_code == 403, answer.text
    assert ("Forbidden" if entry_point == "gateway" else reason) in answer.text, "the message of the entry point"
    assert sum(environment["invocations"] for name in FUNCTIONS for environment in stack.environments(name)) == before


FUNCTIONS = ("StreamFunction", "ConverseFunction")


def test_a_preflight_needs_no_signature(stack: RunningStack) -> None:
    origin = stack.demo
    headers = {"origin": origin, "access-control-request-method": "POST"}
    for entry_point in ENTRY_POINTS:
        answer = httpx.options(f"{getattr(stack, entry_point)}/chat", headers=headers)
        assert answer.headers["access-control-allow-origin"] == origin
