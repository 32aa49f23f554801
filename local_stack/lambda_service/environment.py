"""Execution environments: processes that run a function, one invocation at a time.

An environment must start within ten seconds. It is frozen between invocations. It is killed at the deadline of an
invocation, or when it uses more memory than the function has.
https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
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
MEMORY_CHECK_SECONDS = 0.1  # between two checks of an environment's memory
CPU_CHECK_SECONDS = 0.005  # between two checks of its CPU time, if that is rationed
LOG_LINE_LIMIT = MEGABYTE
PROCESS_GROUPS = ProcessGroups()


class InitError(Exception):
    """The environment did not start. `failure` is the reason."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error_type)
        self.failure = failure


class Watchdog:
    """A process that kills remaining environments after the end of the stack, also after a crash (see watchdog.py).

    `folder` is for the files of the environments. The watchdog removes it at the end.
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
    """One execution environment: a process with its Runtime API.

    `on_ready` is called each time the environment is ready for an invocation, `on_exit` once after the process has
    ended. `rationed`: during invocations, CPU time is in proportion to memory.
    """

    def __init__(
        self,
        function: Function,
        sandbox: Sandbox,
        watchdog: Watchdog,
        on_ready: Callable[["Environment"], None],
        on_exit: Callable[["Environment"], None],
        *,
        rationed: bool = False,
    ) -> None:
        self.function = function
        self.invocations = 0
        self.freezes = True  # whether to stop the process between invocations, as Lambda does
        self._rationed = rationed
        self._sandbox = sandbox
        self._watchdog = watchdog
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
        """Start the process and wait until its runtime is ready. Raises InitError if it fails or takes too long.

        `seconds` is the longest time of the init.
        """
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
        self._watchdog.watch(self._process.pid)
        self._watcher = asyncio.create_task(self._watch(self._process))
        self._thawed.set()
        self._limiter = asyncio.create_task(self._limit(self._process.pid))
        started = asyncio.create_task(self._started.wait())
        await asyncio.wait({started, self._watcher}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if started.done():
            return
        started.cancel()
        timed_out = not self._watcher.done()
        self.kill()
        await asyncio.wait({self._watcher})
        if timed_out:
            raise InitError(Failure.of("Sandbox.Timedout", f"Task timed out after {seconds:.2f} seconds"))
        exited = Failure.of(*self._cause())
        raise InitError(self._api.init_failure or exited)

    def invoke(self, payload: bytes, request_id: str | None = None) -> Invocation:
        """Start an invocation. The environment must be ready for one."""
        deadline = time.time() + self.function.timeout
        invocation = Invocation(payload, self.function.arn, deadline, request_id or str(uuid.uuid4()))
        self._signal(signal.SIGCONT)
        self._thawed.set()
        self._current = invocation
        self._deadline = asyncio.get_running_loop().call_later(self.function.timeout, self._time_out, invocation)
        self._api.dispatch(invocation)
        self.invocations += 1
        if self._end:  # the process has ended since it became ready
            self._fail(invocation, *self._cause())
        return invocation

    def kill(self) -> None:
        """Kill the process and its children."""
        self._signal(signal.SIGKILL)

    async def close(self) -> None:
        """Kill the process at the end of the stack. A running invocation gets no failure."""
        self._current = None
        self.kill()
        if self._watcher:
            await asyncio.wait({self._watcher})

    def _next(self) -> None:
        """Called when the runtime requests the next invocation. The last one has ended."""
        if self._deadline:
            self._deadline.cancel()
        if self._process and self._exceeds_memory(self._process.pid):
            return  # the process has been killed
        self._current = None
        if self.freezes:
            self._thawed.clear()
            self._signal(signal.SIGSTOP)
        self._started.set()
        self._on_ready(self)

    async def _limit(self, pid: int) -> None:
        """Enforce the limits of memory and CPU time while the process runs."""
        ration: CpuRation | None = None
        paused = False
        while True:
            if not self._thawed.is_set():
                ration, paused = None, False  # a freeze resets the balance of CPU time
                await self._thawed.wait()
            if self._exceeds_memory(pid):
                return
            if not (self._rationed and self._current):  # the CPU time of the init is not limited
                await asyncio.sleep(MEMORY_CHECK_SECONDS)
                continue
            used, now = PROCESS_GROUPS.cpu_seconds(pid), time.monotonic()
            ration = ration or CpuRation(self.function.memory, used, now)
            if ration.is_used_up(used, now) is not paused:
                paused = not paused
                self._signal(signal.SIGSTOP if paused else signal.SIGCONT)
            await asyncio.sleep(CPU_CHECK_SECONDS)

    def _exceeds_memory(self, pid: int) -> bool:
        """Kill the process if it has used more memory than the function has. Returns whether it has.

        For the error see https://repost.aws/knowledge-center/lambda-troubleshoot-invoke-error-502-500
        """
        self._out_of_memory = PROCESS_GROUPS.peak_memory(pid) > self.function.memory * MEGABYTE
        if self._out_of_memory:
            self.kill()
        return self._out_of_memory

    def _cause(self) -> tuple[str, str]:
        """Return the error type and the message for an invocation or an init that ended with the process."""
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
        """Copy the output of the process to the log until it ends. Then fail its invocation and call `on_exit`."""
        stdout = cast(asyncio.StreamReader, process.stdout)  # it was started with PIPE
        output = asyncio.create_task(_copy_output(stdout, self.function.name, sys.stderr))
        code = await process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # child processes that are still running
        self._watchdog.forget(process.pid)
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


async def _copy_output(output: asyncio.StreamReader, name: str, log: TextIO) -> None:
    """Copy a function's output to the log line by line. Lines that are not JSON get the function's name."""
    while True:
        try:
            line = (await output.readline()).decode(errors="replace")
        except ValueError:  # longer than LOG_LINE_LIMIT: readline has discarded it
            line = "(a line longer than 1 MB was discarded)\n"
        if not line:
            return
        print(line.rstrip("\n") if line.startswith("{") else f"[{name}] {line.rstrip()}", file=log, flush=True)
