"""Start and stop of the local stack: ports, errors and processes."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import randrange

import httpx
import pytest

from local_stack.dynamodb.server import DynamoDB
from tests.e2e.chat import Person
from tests.stack import ROOT, RunningStack, start_stack, stop_stack


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_every_entry_point_serves_the_template(stack: RunningStack) -> None:
    origin = {"origin": stack.demo}
    for entry_point in (stack.url, stack.gateway):
        answer = httpx.get(f"{entry_point}/health", headers=origin)
        assert answer.status_code == 200
        assert answer.headers.get_list("access-control-allow-origin") == [stack.demo]
    assert httpx.get(f"{stack.rest}/health").status_code == 200
    preflight = {**origin, "access-control-request-method": "POST"}
    for path in ("/chat", "/ai/chat", "/v1/chat/completions"):
        allowed = httpx.options(f"{stack.rest}{path}", headers=preflight)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (204, stack.demo)
    for path in ("/", "/health", "/openapi.json", "/conversations"):
        assert httpx.get(f"{stack.host}{path}").status_code == 200
    assert httpx.get(f"{stack.host}/page/config.json").json() == {"functionUrl": "/", "apiUrl": "/"}
    assert httpx.get(f"{stack.demo}/page/config.json").json() == {"functionUrl": stack.url, "apiUrl": stack.gateway}
    assert httpx.get(f"{stack.demo}/../template.yaml").status_code == 404


def test_only_the_web_host_is_accepted_with_an_origin_secret() -> None:
    secret = "0123456789abcdef0123456789abcdef"
    running = start_stack("--parameter", f"OriginSecret={secret}")
    try:
        for entry_point in (running.url, running.gateway, running.rest):
            for headers in ({}, {"x-origin-secret": secret[:-1]}, {"x-origin-secret": secret.upper()}):
                for path in ("/health", "/conversations"):
                    refused = httpx.get(entry_point + path, headers=headers)
                    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
            assert httpx.get(f"{entry_point}/health", headers={"x-origin-secret": secret}).status_code == 200
        body = {"message": {"text": "[[tokens=3 pace=1 first=1]]"}}
        streamed = httpx.post(f"{running.host}/chat", json=body, headers={"x-origin-secret": "wrong"})
        assert '"type":"complete"' in streamed.text
        assert len(httpx.get(f"{running.host}/conversations").json()["conversations"]) == 1
        preflight = {"origin": running.demo, "access-control-request-method": "POST"}
        assert httpx.options(f"{running.host}/chat", headers=preflight).status_code == 200  # by the entry point
    finally:
        stop_stack(running)
    assert secret not in "".join(running.log)


def test_a_busy_port_is_named_in_the_error() -> None:
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        port = str(occupied.getsockname()[1])
        command = [sys.executable, "-m", "local_stack", "--port", port]
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert process.returncode == 1
    assert process.stderr == f"local_stack: port {port} is in use; try another one: make run PORT=9797\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has more than one loopback address")
def test_only_bedrock_and_dynamodb_listen_on_the_bridge() -> None:
    """The bridge is a second loopback address. Containers can connect to Bedrock and DynamoDB, and to no other port."""
    bridge, first = "127.0.0.2", six_free_ports()
    running = start_stack("--port", str(first), "--bridge", bridge, tls=False)
    try:
        listening = {number - first for number in range(first, first + 6) if is_listening(bridge, number)}
        assert listening == {3, 4}
        assert not is_listening(bridge, int(running.rest.split("/")[2].partition(":")[2]))
        assert httpx.post(f"http://{bridge}:{first + 4}").json() == {"__type": "UnknownOperationException"}
        assert httpx.post(f"http://{bridge}:{first + 3}/").headers["x-amzn-errortype"] == "UnknownOperationException"
        assert all(is_listening("127.0.0.1", number) for number in range(first, first + 6))
    finally:
        stop_stack(running)


def is_listening(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=5):
        return True
    return False


def six_free_ports() -> int:
    """Returns the first of six consecutive free ports."""
    while True:
        first = randrange(20_000, 30_000)  # noqa: S311 - nothing secret
        with contextlib.suppress(OSError), contextlib.ExitStack() as occupied:
            for number in range(first, first + 6):
                occupied.enter_context(socket.create_server(("127.0.0.1", number)))
            return first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bridge", "0.0.0.0"], "0.0.0.0 is not the address of a bridge"),
        (["--bridge", "8.8.8.8"], "8.8.8.8 is not the address of a bridge"),
        (["--bridge", "192.168.255.254"], "192.168.255.254 is not an address of this machine"),
        (["--bridge", "docker0"], "invalid bridge value"),
        (["--bridge", "127.0.0.1", "--port", "0"], "--bridge needs a --port"),
    ],
)
def test_an_invalid_bridge_address_is_refused(arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "local_stack", *arguments]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert process.returncode == 2
    assert message in process.stderr


def test_a_port_without_five_ports_above_it_is_refused() -> None:
    command = [sys.executable, "-m", "local_stack", "--port", "65531"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert process.returncode == 2
    assert "65531 is not from 0 to 65530" in process.stderr


def test_stopping_the_stack_ends_all_its_processes() -> None:
    running = start_stack()
    pids = [item["pid"] for name in ("StreamFunction", "ConverseFunction") for item in running.environments(name)]
    assert len(pids) == 2
    assert all(map(is_alive, pids))
    stop_stack(running)
    assert not any(map(is_alive, pids))


def test_killing_the_stack_ends_its_environments() -> None:
    running = start_stack()
    pids = [item["pid"] for name in ("StreamFunction", "ConverseFunction") for item in running.environments(name)]
    assert httpx.get(f"{running.url}/health").status_code == 200  # a frozen environment does not end by itself
    running.process.send_signal(signal.SIGKILL)
    running.process.wait()
    eventually(lambda: not any(map(is_alive, pids)))


@pytest.fixture
def dynamodb() -> Iterator[DynamoDB]:
    server = DynamoDB()
    server.start()
    yield server
    server.stop()


def test_a_dynamodb_endpoint_variable_replaces_the_stacks_table(dynamodb: DynamoDB) -> None:
    """The stack creates its table at the endpoint in the variable, and does not delete it."""
    env = {**os.environ, "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url}
    for _ in range(2):
        running = start_stack(env=env)
        try:
            with Person(running) as person:
                person.headers = {"x-dev-user": "the-same"}
                person.http.headers.update(person.headers)
                person.send("[[tokens=3 pace=1 first=1]]", conversationId="stored-outside")
                stored = person.messages("stored-outside")
        finally:
            stop_stack(running)
    assert len(stored) == 4


def test_an_unreachable_service_is_named_in_the_error() -> None:
    env = {**os.environ, "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "local_stack", "--port", "0"]
    process = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert process.returncode == 1
    assert process.stderr == "local_stack: DynamoDB at http://127.0.0.1:9 does not answer\n"
