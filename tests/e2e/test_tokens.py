"""Auth mode jwt in the local stack: which tokens both functions accept."""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.routes import PUBLIC, converse_routes, stream_routes
from tests.stack import ROOT, RunningStack, start_stack, stop_stack

pytestmark = pytest.mark.xdist_group("tokens")


@pytest.fixture(scope="module")
def outdated() -> list[str]:
    """Tokens that were valid until the issuer changed its key."""
    return []


@pytest.fixture(scope="module")
def stack(outdated: list[str]) -> Iterator[RunningStack]:
    running = start_stack("--auth", "jwt")
    outdated.append(running.token("alice"))
    running.faults(issuer={"rotate": True})
    yield running
    stop_stack(running)


def routes(stack: RunningStack) -> list[tuple[str, str]]:
    """Returns the method and URL of every route of both functions that needs a token."""
    streamed, buffered = stream_routes() - PUBLIC, converse_routes() - PUBLIC
    assert len(streamed) > 2
    assert len(buffered) > 10
    named = [(stack.url, route) for route in streamed] + [(stack.gateway, route) for route in buffered]
    split = [(entry_point, *route.replace("{}", "somewhere").split(" ")) for entry_point, route in named]
    return [(method, entry_point + path) for entry_point, method, path in sorted(split)]


def without_id(answer: httpx.Response) -> dict[str, Any]:
    """Returns the body without the request id."""
    body: dict[str, Any] = answer.json()
    body["error"].pop("requestId", None)
    return body


def refused_tokens(stack: RunningStack) -> dict[str, str]:
    now, valid = int(time.time()), stack.token("alice")
    header, claims, signature = valid.split(".")
    unsigned = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).decode().rstrip("=")
    [published] = httpx.get(f"{stack.demo}/_local/issuer/keys").json()["keys"]
    other_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    decoded = jwt.decode(valid, options={"verify_signature": False})
    return {
        "expired": stack.token("alice", exp=now - 90),
        "not yet valid": stack.token("alice", nbf=now + 90),
        "wrong issuer": stack.token("alice", iss="https://issuer.example"),
        "wrong audience": stack.token("alice", aud="another"),
        "no subject": stack.token("alice", sub=None),
        "unsigned": f"{unsigned}.{claims}.",
        "public key as secret": jwt.encode(decoded, published["n"], "HS256", {"kid": published["kid"]}),
        "another key under the same id": jwt.encode(decoded, other_key, "RS256", {"kid": published["kid"]}),
        "unknown key": jwt.encode(decoded, other_key, "RS256", {"kid": "unknown"}),
        "changed": f"{header}.{claims[:-8]}{claims[-8:].swapcase()}.{signature}",
        "garbage": "garbage",
        "long": stack.token("alice", padding="a" * 5500),  # still within API Gateway's limit
    }


def test_every_route_refuses_every_invalid_token_with_the_same_error(stack: RunningStack, outdated: list[str]) -> None:
    tokens = {"key rotated": outdated[0], **refused_tokens(stack)}
    with httpx.Client() as client:
        for method, url in routes(stack):
            body: Any = None if method == "GET" else {}
            missing = client.request(method, url, json=body)
            assert missing.status_code == 401
            for name, token in tokens.items():
                for header in ("authorization", "x-authorization"):
                    answer = client.request(method, url, headers={header: f"Bearer {token}"}, json=body)
                    assert answer.status_code == 401, (name, method, url)
                    assert without_id(answer) == without_id(missing), (name, method, url)


@pytest.mark.parametrize("entry_point", ["gateway", "host"])
def test_an_unknown_path_without_a_token_makes_no_call_to_table_or_model(stack: RunningStack, entry_point: str) -> None:
    """API Gateway sends every path to the function, so it must cost little: no call to the table or to the model."""
    before, base = stack.number_of_calls(), getattr(stack, entry_point)
    with httpx.Client() as client:
        for path in ("/unknown", "/conversations/a/b", "/chat/a/unknown", "/wp-login.php", "/page"):
            for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
                answer = client.request(method, base + path, json=None if method in {"GET", "HEAD"} else {})
                assert answer.status_code == 401, (method, path)
    assert stack.number_of_calls() == before


@pytest.mark.parametrize("event", ["chat", "http-api-conversations"])
def test_a_token_of_a_megabyte_is_refused_by_the_functions(stack: RunningStack, event: str) -> None:
    """Entry points have limits, but the functions do not depend on them."""
    function = "ConverseFunction" if event.startswith("http-api") else "StreamFunction"
    event_body = json.loads((ROOT / f"events/{event}.json").read_text(encoding="utf-8"))
    event_body["headers"]["authorization"] = f"Bearer {'a' * 1024 * 1024}"
    answer = httpx.post(f"{stack.demo}/2015-03-31/functions/{function}/invocations", json=event_body)
    assert "unauthenticated" in answer.text


def test_the_log_has_the_reason_and_not_the_token(stack: RunningStack) -> None:
    tokens = refused_tokens(stack)
    expected = {"expired": "ExpiredSignatureError", "unsigned": "InvalidAlgorithmError", "unknown key": "UnknownKey"}
    for name in expected:
        for entry_point in (stack.url, stack.gateway):
            assert (
                httpx.post(f"{entry_point}/chat", headers={"authorization": f"Bearer {tokens[name]}"}).status_code
                == 401
            )
    deadline = time.monotonic() + 15
    while any("".join(stack.log).count(f'"reason":"{reason}"') < 2 for reason in expected.values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "eyJ" not in "".join(stack.log)  # the first characters of every token


def test_a_valid_token_is_accepted_by_every_route(stack: RunningStack) -> None:
    headers = {"authorization": f"Bearer {stack.token('alice')}"}
    with httpx.Client(headers=headers, timeout=30) as client:
        for method, url in routes(stack):
            assert client.request(method, url, json={} if method != "GET" else None).status_code != 401, (method, url)
        for entry_point in (stack.url, stack.gateway, stack.host, stack.rest):
            body = {"message": {"text": "[[tokens=3 pace=1 first=1]]"}}
            assert client.post(f"{entry_point}/chat", json=body).status_code == 200


def test_public_routes_need_no_token(stack: RunningStack) -> None:
    for url in (f"{stack.url}/health", f"{stack.gateway}/health", f"{stack.gateway}/openapi.json"):
        assert httpx.get(url).status_code == 200


def test_two_users_see_only_their_own_conversations(stack: RunningStack) -> None:
    ada, bob = ({"authorization": f"Bearer {stack.token(name)}"} for name in ("ada", "bob"))
    body = {"message": {"text": "[[tokens=3 pace=1 first=1]]"}, "conversationId": "about-ada"}
    assert '"type":"complete"' in httpx.post(f"{stack.url}/chat", json=body, headers=ada, timeout=30).text
    url = f"{stack.gateway}/conversations/about-ada/messages"
    assert len(httpx.get(url, headers=ada).json()["messages"]) == 2
    assert httpx.get(url, headers=bob).status_code == 404
    assert httpx.get(f"{stack.gateway}/conversations", headers=bob).json() == {"conversations": []}
    with_signature = {"authorization": "AWS4-HMAC-SHA256 Signature=0", "x-authorization": ada["authorization"]}
    assert len(httpx.get(url, headers=with_signature).json()["messages"]) == 2


def test_valid_tokens_are_accepted_while_the_issuer_is_down(stack: RunningStack) -> None:
    token = stack.token("alice")
    for entry_point in (stack.url, stack.gateway):  # the functions have fetched the key
        assert (
            httpx.post(f"{entry_point}/chat", json={}, headers={"authorization": f"Bearer {token}"}).status_code == 400
        )
    stack.faults(issuer={"down": True})
    try:
        assert httpx.get(f"{stack.demo}/_local/issuer/keys").status_code == 503
        other_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        unknown_key_token = jwt.encode({"sub": "alice"}, other_key, "RS256", {"kid": "invented"})
        for bearer, status in ((token, 400), (stack.token("bob"), 400), (unknown_key_token, 401)):
            for entry_point in (stack.url, stack.gateway):
                headers = {"authorization": f"Bearer {bearer}"}
                assert httpx.post(f"{entry_point}/chat", json={}, headers=headers).status_code == status
    finally:
        stack.faults(issuer={"down": False})


def make_token(port: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--silent", "token", "USER=grace", f"PORT={port}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_make_token_prints_a_valid_token(stack: RunningStack) -> None:
    process = make_token(stack.host.rpartition(":")[2])
    assert (process.returncode, process.stderr) == (0, "")
    headers = {"authorization": f"Bearer {process.stdout.strip()}"}
    assert httpx.get(f"{stack.gateway}/conversations", headers=headers).status_code == 200
    assert jwt.decode(process.stdout.strip(), options={"verify_signature": False})["sub"] == "grace"


def test_make_token_names_a_missing_stack_or_auth_mode() -> None:
    process = make_token("9")
    assert process.returncode != 0
    assert "token: no stack runs on port 9; start one with: make run AUTH=jwt" in process.stderr
    running = start_stack()
    try:
        command = [sys.executable, "-m", "local_stack.token", "--port", running.host.rpartition(":")[2], "grace"]
        refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    finally:
        stop_stack(running)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "token: the stack does not use tokens; start it with: make run AUTH=jwt\n"
