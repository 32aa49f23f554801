"""The laptop stack as a real process, one for each test worker."""

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
# Tests ask faster than people do, on a machine that has more to do; those of the limits have a stack of their own.
UNHURRIED = ("UserRequestsPerMinute=6000", "UserBurst=1000", "AddressRequestsPerMinute=60000", "AddressBurst=10000",
             "UserGenerations=100", "UserDayTokens=0", "UserDayUsd=0", "DayUsd=0",
             "GatewayRequestsPerSecond=10000", "GatewayBurst=5000")  # fmt: skip
# `make test-long` runs the end-to-end tests a second time: with the CPU time that Lambda would give the functions, and
# the lookup's usual budget. Otherwise a lookup may take longer, because other tests run at the same time.
RATIONED = "RATION_CPU" in os.environ
PACE = ("--ration-cpu",) if RATIONED else ("--parameter", "MemoryMilliseconds=3000")


@dataclass(frozen=True)
class RunningStack:
    """Base URLs without a slash at the end, and the stack's own endpoints."""

    host: str  # the page, the stream and the API under one host; empty where there is none
    url: str  # Function URL
    gateway: str  # HTTP API
    demo: str  # demo page and control
    rest: str  # REST API in streamed mode, with its stage
    process: subprocess.Popen[str]
    log: list[str]  # the stack's stderr so far, lines

    def faults(self, **faults: Any) -> None:
        """table={"delayMs", ...}, model={"rate", "seed"}, issuer={"down", "rotate"}, events={"twice"} and
        freezeAfterResponse=bool.

        What is not named stays as it is.
        """
        self._call("faults", faults)

    def kill(self, function: str) -> int:
        """Kill an environment that is at work; its process id. Raises HTTPError 409 when none is."""
        pid: int = self._call("kill", {"function": function})["pid"]
        return pid

    def requests(self) -> list[dict[str, Any]]:
        """Requests that the model's stand-in got, newest last."""
        answer: list[dict[str, Any]] = self._call("requests")
        return answer

    def calls(self) -> set[tuple[str, str, str]]:
        """What the functions asked AWS for: function, IAM action, and the table, index or model."""
        return {(call["function"], call["action"], call["resource"]) for call in self._call("calls")}

    def number_of_calls(self) -> int:
        """How many times the functions have asked AWS for something, so far."""
        return len(self._call("calls"))

    def environments(self, function: str) -> list[dict[str, Any]]:
        """That function's environments: pid, state and number of invocations."""
        return [each for each in self._call("environments") if each["function"] == function]

    def dead_letters(self) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self._call("dead-letters")
        return answer

    def token(self, user: str, **claims: Any) -> str:
        """A token of the stack's own issuer, if it runs with `--auth jwt`; `claims` replace the usual ones."""
        token: str = self._call("token", {"user": user, "claims": claims})["token"]
        return token

    def _call(self, name: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.demo}/_local/{name}", data, timeout=10) as answer:  # noqa: S310 - our own
            return json.load(answer)


def start_stack(*options: str, env: dict[str, str] | None = None, nice: int = 0, tls: bool = True) -> RunningStack:
    """Start `python -m local_stack` on free ports and wait until it is ready.

    Stop it with `stop_stack`. With `tls` the functions reach its services as they reach AWS's.

    With `nice` as of nice(1) it leaves the processor to the tests of other workers.
    """
    command = ["nice", "-n", str(nice), sys.executable, "-m", "local_stack", "--port", "0"]
    command += ["--rest-streaming", *PACE, *(["--tls"] if tls else [])]
    for parameter in ("ModelIdleSeconds=4", "Learning=disabled", *UNHURRIED):
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


def _drain(pipe: TextIO, take: Callable[[str], object]) -> None:
    """Hand over each line, and an empty one at the end."""
    with pipe:
        for line in pipe:
            take(line)
    take("")


def stop_stack(stack: RunningStack) -> None:
    """Stop it as Ctrl-C does, and see that it ends well."""
    stack.process.send_signal(signal.SIGINT)
    assert stack.process.wait(timeout=60) == 0, "".join(stack.log)
