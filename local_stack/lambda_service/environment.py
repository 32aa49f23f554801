"""Execution environments: real processes that run a function one invocation at a time.

Their life is that of https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html: ten seconds to
start, frozen between invocations, killed with their last one at its deadline or above the function's memory.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Callable
from pathlib import Path
from typing import TextIO, cast

from local_stack.lambda_service.invocation import Failure, Invocation
from local_stack.lambda_service.processes import CpuRation, ProcessGroups
from local_stack.lambda_service.runtime_api import RuntimeApi, State
from local_stack.lambda_service.sandbox import Sandbox
from local_stack.template import Function

MEGABYTE = 1024 * 1024
LOOK_SECONDS = 0.1  # between two looks at an environment's memory
RATION_SECONDS = 0.005  # between two looks at its CPU time, where that is rationed
LOG_LINE_LIMIT = MEGABYTE
PROCESS_GROUPS = ProcessGroups()


class InitError(Exception):
    """The environment did not come up; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error_type)
        self.failure = failure


class Watchdog:
    """The process that outlives the stack by a moment and ends what it left (see watchdog.py).

    `folder` is where the stack may lay out its environments; it goes away with them.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="local-stack-"))
        read, self._pipe = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "local_stack.lambda_service.watchdog", str(self.folder)],
            stdin=read,
            start_new_session=True,
        )
        os.close(read)

    def watch(self, group: int) -> None:
        os.write(self._pipe, f"+{group}\n".encode())

    def forget(self, group: int) -> None:
        os.write(self._pipe, f"-{group}\n".encode())

    def close(self) -> None:
        os.close(self._pipe)
        self._process.wait()


class Environment:
    """One process with its Runtime API. With `rationed` it has CPU time in proportion to its memory in invocations.

    `on_ready` is called when it has become free for an invocation, `on_exit` once when the process is gone.
    """

    def __init__(
        self,
        function: Function,
        sandbox: Sandbox,
        guard: Watchdog,
        on_ready: Callable[["Environment"], None],
        on_exit: Callable[["Environment"], None],
        *,
        rationed: bool = False,
    ) -> None:
        self.function = function
        self.invocations = 0
        self.freezes = True  # stop the process between invocations, as Lambda does
        self._rationed = rationed
        self._sandbox = sandbox
        self._guard = guard
        self._on_ready = on_ready
        self._on_exit = on_exit
        self._api = RuntimeApi(self._next)
        self._started = asyncio.Event()
        self._current: Invocation | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._limiter: asyncio.Task[None] | None = None
        self._thawed = asyncio.Event()
        self._out_of_memory = False
        self._end = ""  # how the process ended

    @property
    def state(self) -> State:
        return self._api.state

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self, seconds: float) -> None:
        """Start the process and wait until it asks for an invocation. Raises InitError after so many seconds."""
        address = await self._api.start()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._sandbox.command,
                cwd=self._sandbox.task_root,
                env={**self._sandbox.variables, "AWS_LAMBDA_RUNTIME_API": address},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                limit=LOG_LINE_LIMIT,
                process_group=0,
            )
        except OSError as error:
            raise InitError(Failure.of("Runtime.InvalidEntrypoint", str(error))) from error
        self._guard.watch(self._process.pid)
        self._watcher = asyncio.create_task(self._watch(self._process))
        self._thawed.set()
        self._limiter = asyncio.create_task(self._limit(self._process.pid))
        started = asyncio.create_task(self._started.wait())
        await asyncio.wait({started, self._watcher}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if started.done():
            return
        started.cancel()
        late = not self._watcher.done()
        self.kill()
        await asyncio.wait({self._watcher})
        if late:
            raise InitError(Failure.of("Sandbox.Timedout", f"Task timed out after {seconds:.2f} seconds"))
        exited = Failure.of(*self._cause())
        raise InitError(self._api.init_failure or exited)

    def invoke(self, payload: bytes) -> Invocation:
        """Hand over an invocation; the environment must be free."""
        deadline = time.time() + self.function.timeout
        invocation = Invocation(payload, self.function.arn, deadline)
        self._signal(signal.SIGCONT)
        self._thawed.set()
        self._current = invocation
        self._deadline = asyncio.get_running_loop().call_later(self.function.timeout, self._time_out, invocation)
        self._api.dispatch(invocation)
        self.invocations += 1
        if self._end:  # it died between becoming free and now
            self._fail(invocation, *self._cause())
        return invocation

    def kill(self) -> None:
        """End the process and its children at once."""
        self._signal(signal.SIGKILL)

    async def close(self) -> None:
        """End without a word to whoever waits for an answer: the whole stack goes."""
        self._current = None
        self.kill()
        if self._watcher:
            await asyncio.wait({self._watcher})

    def _next(self) -> None:
        """The runtime asks for an invocation, so the last one is over."""
        if self._deadline:
            self._deadline.cancel()
        if self._process and self._exceeds_memory(self._process.pid):
            return  # it is not ready for another: it ends
        self._current = None
        if self.freezes:
            self._thawed.clear()
            self._signal(signal.SIGSTOP)
        self._started.set()
        self._on_ready(self)

    async def _limit(self, pid: int) -> None:
        """See to it, while the process runs, that it has no more memory and CPU time than the function may."""
        ration: CpuRation | None = None
        paused = False
        while True:
            if not self._thawed.is_set():
                ration, paused = None, False  # who was frozen has saved nothing and owes nothing
                await self._thawed.wait()
            if self._exceeds_memory(pid):
                return
            if not (self._rationed and self._current):  # Lambda does not ration the init
                await asyncio.sleep(LOOK_SECONDS)
                continue
            used, now = PROCESS_GROUPS.cpu_seconds(pid), time.monotonic()
            ration = ration or CpuRation(self.function.memory, used, now)
            if ration.is_used_up(used, now) is not paused:
                paused = not paused
                self._signal(signal.SIGSTOP if paused else signal.SIGCONT)
            await asyncio.sleep(RATION_SECONDS)

    def _exceeds_memory(self, pid: int) -> bool:
        """Whether it has had more memory than the function may, and so is killed.

        The error is what users report: https://repost.aws/knowledge-center/lambda-troubleshoot-invoke-error-502-500.
        """
        self._out_of_memory = PROCESS_GROUPS.peak_memory(pid) > self.function.memory * MEGABYTE
        if self._out_of_memory:
            self.kill()
        return self._out_of_memory

    def _cause(self) -> tuple[str, str]:
        """Type and text of the error of whoever was at work when the process ended."""
        if self._out_of_memory:
            return "Runtime.OutOfMemory", "Runtime exited with error: signal: killed"
        return "Runtime.ExitError", f"Runtime exited with error: {self._end}"

    def _time_out(self, invocation: Invocation) -> None:
        error = f"Task timed out after {self.function.timeout}.00 seconds"
        self._fail(invocation, "Sandbox.Timedout", error)
        self.kill()

    def _fail(self, invocation: Invocation, error_type: str, error: str) -> None:
        message = f"RequestId: {invocation.request_id} Error: {error}"
        print(f"[{self.function.name}] {message}", file=sys.stderr, flush=True)
        invocation.finish(Failure.of(error_type, message))

    def _signal(self, number: signal.Signals) -> None:
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Pass on the process's output until it is gone, then tell everybody who waits for it."""
        stdout = cast(asyncio.StreamReader, process.stdout)  # a pipe, as asked for
        output = asyncio.create_task(_pass_on(stdout, self.function.name, sys.stderr))
        code = await process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what the process has started goes with it
        self._guard.forget(process.pid)
        await output
        if self._deadline:
            self._deadline.cancel()
        self._api.close()
        self._end = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        if self._limiter:
            self._limiter.cancel()
        if self._current:
            self._fail(self._current, *self._cause())
        self._on_exit(self)


async def _pass_on(output: asyncio.StreamReader, name: str, log: TextIO) -> None:
    """Copy a function's output to the log line by line, JSON lines as they are and others with its name."""
    while True:
        try:
            line = (await output.readline()).decode(errors="replace")
        except ValueError:  # longer than LOG_LINE_LIMIT: readline has dropped it
            line = "(a line too long to show)\n"
        if not line:
            return
        print(line.rstrip("\n") if line.startswith("{") else f"[{name}] {line.rstrip()}", file=log, flush=True)
