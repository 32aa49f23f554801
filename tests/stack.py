"""The local stack as a real process, one per test worker."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[1]
READY_SECONDS = 120
NAMES = ("Web host", "Function URL", "API Gateway", "Demo page", "REST API")  # as the stack prints them
# Tests send more requests than users do, so the limits are raised. The tests of the limits start another stack.
RAISED_LIMITS = ("UserRequestsPerMinute=6000", "UserBurst=1000", "AddressRequestsPerMinute=60000",
                 "AddressBurst=10000",
                 "UserGenerations=100", "UserDayTokens=0", "UserDayUsd=0", "DayUsd=0",
                 "GatewayRequestsPerSecond=10000", "GatewayBurst=5000")  # fmt: skip
# The default, and a Claude with a small context window.
MODELS = "AllowedModels=nova-micro,nova-lite,nova-pro,nova-2-lite,claude-haiku,claude-sonnet,claude-haiku-4-5"
# `make test-long` runs the end-to-end tests a second time: with the CPU time of Lambda and the default deadline of the
# memory lookup. Otherwise the deadline is longer, because other tests run at the same time.
RATIONED = "RATION_CPU" in os.environ
SPEED_OPTIONS = ("--ration-cpu",) if RATIONED else ("--parameter", "MemoryMilliseconds=3000")


@dataclass(frozen=True)
class RunningStack:
    """A local stack: its base URLs, without a slash at the end, and methods for its control endpoints."""

    host: str  # web host: page, stream and API; empty if there is none
    url: str  # Function URL
    gateway: str  # HTTP API
    demo: str  # demo page and control endpoints
    rest: str  # REST API in streamed mode, with its stage
    process: subprocess.Popen[str]
    log: list[str]  # lines of the stack's stderr so far

    def faults(self, **faults: Any) -> None:
        """Set faults: table={"delayMs", ...}, model={"rate", "seed"}, issuer={"down", "rotate"}, events={"twice"} and
        freezeAfterResponse=bool.

        Omitted arguments keep their values.
        """
        self._call("faults", faults)

    def kill(self, function: str) -> int:
        """Kill a busy environment and return its process id. Raises HTTPError 409 if none is busy."""
        pid: int = self._call("kill", {"function": function})["pid"]
        return pid

    def requests(self) -> list[dict[str, Any]]:
        """Returns the requests that the Bedrock emulator has received, newest last."""
        answer: list[dict[str, Any]] = self._call("requests")
        return answer

    def calls(self) -> set[tuple[str, str, str]]:
        """Returns the functions' AWS calls: function, IAM action, and the table, index or model."""
        return {(call["function"], call["action"], call["resource"]) for call in self._call("calls")}

    def number_of_calls(self) -> int:
        """Returns the number of AWS calls of the functions so far."""
        return len(self._call("calls"))

    def environments(self, function: str) -> list[dict[str, Any]]:
        """Returns the function's environments: pid, state and number of invocations."""
        return [item for item in self._call("environments") if item["function"] == function]

    def dead_letters(self) -> list[dict[str, Any]]:
        """Returns the records in the dead-letter queue."""
        answer: list[dict[str, Any]] = self._call("dead-letters")
        return answer

    def token(self, user: str, **claims: Any) -> str:
        """Returns a token of the stack's issuer; needs `--auth jwt`. `claims` replace the default claims."""
        token: str = self._call("token", {"user": user, "claims": claims})["token"]
        return token

    def _call(self, name: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.demo}/_local/{name}", data, timeout=10) as response:  # noqa: S310 - local URL
            return json.load(response)


def start_stack(*options: str, env: dict[str, str] | None = None, tls: bool = True) -> RunningStack:
    """Start `python -m local_stack` on free ports and wait until it is ready.

    Stop it with `stop_stack`. With `tls` the functions use TLS for the AWS services, as in AWS.
    """
    command = [sys.executable, "-m", "local_stack", "--port", "0"]
    command += ["--rest-streaming", *SPEED_OPTIONS, *(["--tls"] if tls else [])]
    for parameter in ("ModelIdleSeconds=4", "Learning=disabled", MODELS, *RAISED_LIMITS):
        command += ["--parameter", parameter]
    command += options
    process = subprocess.Popen(
        command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=1
    )
    log: list[str] = []
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_drain, args=(process.stderr, log.append), daemon=True).start()
    threading.Thread(target=_drain, args=(process.stdout, lines.put), daemon=True).start()
    urls = {"Web host": ""}
    while "REST API" not in urls:
        try:
            line = lines.get(timeout=READY_SECONDS)
        except queue.Empty:
            process.kill()
            line = ""
        name, url = line[:14].strip(), line[14:].strip()
        assert url.startswith("http://127.0.0.1:"), "".join([line, *log])
        urls[name] = url
    host, url, gateway, demo, rest = (urls[name] for name in NAMES)
    return RunningStack(host, url, gateway, demo, rest, process, log)


def _drain(pipe: TextIO, receive: Callable[[str], object]) -> None:
    """Pass each line to `receive`, and an empty string at the end."""
    with pipe:
        for line in pipe:
            receive(line)
    receive("")


def stop_stack(stack: RunningStack) -> None:
    """Stop the stack as Ctrl-C does, and assert that its exit code is 0."""
    stack.process.send_signal(signal.SIGINT)
    assert stack.process.wait(timeout=60) == 0, "".join(stack.log)
