"""The commands of events/README.md for Docker on Linux, run unchanged, and `sam local invoke` with every event."""

import contextlib
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_stack import template as templates
from local_stack.emulator import ARCHITECTURES, free_port, function_for
from tests.documented import commands
from tests.e2e.test_invoke import EVENT_SEQUENCE
from tests.stack import ROOT

pytestmark = [
    pytest.mark.clients,
    # Not beside a browser: the network interface of a container makes Chromium abort its requests.
    pytest.mark.xdist_group("browser"),
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux"),
]

BUILD, RUN, INVOKE, START_API, CURL = commands(ROOT / "events/README.md", "Docker on Linux")
STATUS = {
    "chat-malformed": 400,
    "http-api-add-fact": 201,
    "http-api-forget-fact": 404,
    "http-api-ai-sdk-stop": 202,
}
READY_SECONDS = 120


class Shell:
    """Runs documented commands in a checkout, with the values of this machine instead of the documented ones."""

    def __init__(self, folder: Path, port: int, bridge: str) -> None:
        self.api = free_port()
        self._folder = folder
        self._replacements = {
            "x86_64": ARCHITECTURES[platform.machine()],
            "172.17.0.1": bridge,
            "sam local invoke": "sam local invoke --skip-pull-image",
            "sam local start-api": f"sam local start-api --skip-pull-image --port {self.api}",
            "127.0.0.1:3000": f"127.0.0.1:{self.api}",
        }
        self._env = {**os.environ, "PORT": str(port), "SAM_CLI_TELEMETRY": "0"}

    def run(self, command: str) -> str:
        """Runs the command and returns its stdout. Fails if the command fails."""
        process = subprocess.run(
            self._adapted(command), cwd=self._folder, env=self._env, capture_output=True, text=True, check=False
        )
        assert process.returncode == 0, f"{command}\n{process.stdout}{process.stderr}"
        return process.stdout

    @contextlib.contextmanager
    def running(self, command: str, host: str, port: int) -> Iterator[None]:
        """Starts a command, waits until it listens on the port, and interrupts it at the end."""
        with subprocess.Popen(
            self._adapted(command), cwd=self._folder, env=self._env, start_new_session=True
        ) as process:
            try:
                deadline = time.monotonic() + READY_SECONDS
                while not listens(host, port):
                    assert process.poll() is None, f"{command} ended"
                    assert time.monotonic() < deadline, f"{command} does not listen"
                    time.sleep(0.1)
                yield
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGINT)

    def _adapted(self, command: str) -> list[str]:
        for documented, replacement in self._replacements.items():
            command = command.replace(documented, replacement)
        return ["sh", "-c", command]


def listens(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


@pytest.fixture(scope="module")
def shell(bridge: str, checkout: Path, port: int) -> Iterator[Shell]:
    """A shell after the first two commands: the functions are built and the emulators run."""
    built_shell = Shell(checkout, port, bridge)
    built_shell.run(BUILD)
    with built_shell.running(RUN, "127.0.0.1", port + 2):
        yield built_shell


def invoke(shell: Shell, function: str, event: str) -> Any:
    output = shell.run(INVOKE.replace("StreamFunction", function).replace("events/chat.json", f"events/{event}.json"))
    return json.loads(output.strip().splitlines()[-1])


def test_documented_invoke_returns_a_complete_answer(shell: Shell) -> None:
    answer = json.loads(shell.run(INVOKE).strip().splitlines()[-1])
    assert answer["statusCode"] == 200
    assert '"type":"complete","finishReason":"stop"' in answer["body"]


@pytest.mark.parametrize("event", EVENT_SEQUENCE)
def test_every_event_gets_its_documented_status(shell: Shell, event: str) -> None:
    payload = json.loads((ROOT / f"events/{event}.json").read_text(encoding="utf-8"))
    answer = invoke(shell, function_for(payload, templates.read(ROOT / "template.yaml")).name, event)
    if "requestContext" in payload:
        assert answer["statusCode"] == STATUS.get(event, 200)
    else:
        assert "errorType" not in answer


def test_start_api_serves_health_and_chat(shell: Shell) -> None:
    with shell.running(START_API, "127.0.0.1", shell.api):
        assert json.loads(shell.run(CURL)) == {"status": "ok"}
        body = json.dumps({"message": {"text": "[[tokens=3 pace=1 first=1]]"}})
        command = CURL.replace("/health", f"/chat -d '{body}' -H 'content-type: application/json'")
        assert '"type":"complete","finishReason":"stop"' in shell.run(command)
