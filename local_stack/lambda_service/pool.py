"""The execution environments of a function: reused when warm, started on demand, replaced after a crash."""

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable

from local_stack.lambda_service.concurrency import Concurrency
from local_stack.lambda_service.environment import Environment, InitError
from local_stack.lambda_service.invocation import Answer
from local_stack.template import Function

INIT_SECONDS = 10.0
EVENT_LIMIT = 6 * 1024 * 1024  # bytes of an event


class Throttled(Exception):
    """The concurrency limit of the function or of the account is reached."""


class PayloadTooLarge(Exception):
    """The event is larger than EVENT_LIMIT."""


CreateEnvironment = Callable[[Callable[[Environment], None], Callable[[Environment], None]], Environment]


class Pool:
    """The environments of one function.

    `create(on_ready, on_exit)` returns an environment that is not started yet. `concurrency` is the limit, which the
    function may share with others.
    """

    def __init__(self, function: Function, create: CreateEnvironment, concurrency: Concurrency) -> None:
        self.function = function
        self._concurrency = concurrency
        self._concurrency.add(lambda: len(self._busy) + len(self._waiting))
        self._create = create
        self._freezes = True
        self._environments: set[Environment] = set()
        self._idle: list[Environment] = []  # most recently used last
        self._busy: set[Environment] = set()
        self._waiting: deque[asyncio.Future[Environment]] = deque()
        self._starting: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(2 * (os.cpu_count() or 1))  # more starts at a time would be slower

    @property
    def environments(self) -> list[Environment]:
        return list(self._environments)

    async def invoke(self, payload: bytes, request_id: str | None = None) -> Answer:
        """Invoke the function once. A failed init is returned as a Failure. Raises Throttled and PayloadTooLarge.

        `request_id` is a new one by default.
        """
        if len(payload) > EVENT_LIMIT:
            raise PayloadTooLarge
        try:
            environment = await self._acquire()
        except InitError as error:
            return error.failure
        return await environment.invoke(payload, request_id).answer

    async def prewarm(self, count: int) -> None:
        """Start environments until there are `count`. If an init fails, the first invocation reports it."""
        for _ in range(min(count, self._concurrency.limit) - len(self._environments)):
            self._launch()
        await asyncio.gather(*self._starting)

    def kill_busy(self) -> int | None:
        """Kill one busy environment. Returns its process id, or None if no environment is busy."""
        for environment in self._busy:
            environment.kill()
            return environment.pid
        return None

    def set_freezing(self, *, on: bool) -> None:
        """Set whether processes are stopped between invocations, as on Lambda."""
        self._freezes = on
        for environment in self._environments:
            environment.freezes = on

    async def close(self) -> None:
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, *(each.close() for each in self._environments), return_exceptions=True)

    async def _acquire(self) -> Environment:
        if self._concurrency.full:
            raise Throttled
        if self._idle:
            environment = self._idle.pop()
            self._busy.add(environment)
            return environment
        # The first environment that becomes ready gets the invocation: the new one, or a busy one that ends earlier.
        waiter: asyncio.Future[Environment] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        if len(self._starting) < len(self._waiting):
            self._launch()
        return await waiter

    def _launch(self) -> None:
        task = asyncio.create_task(self._start(self._new_environment()))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    def _new_environment(self) -> Environment:
        environment = self._create(self._on_ready, self._on_exit)
        environment.freezes = self._freezes
        self._environments.add(environment)
        return environment

    async def _start(self, environment: Environment) -> None:
        """Start an environment. After a failed init, start another one if an invocation is waiting.

        The second init runs within the function's timeout:
        https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html, "Init phase" and "Failures during
        the Init phase"
        """
        async with self._slots:
            try:
                await environment.start(INIT_SECONDS)
            except InitError as error:
                self._environments.discard(environment)
                _report(self.function, "init", error)
                if self._waiting:
                    await self._start_again(self._new_environment())

    async def _start_again(self, environment: Environment) -> None:
        try:
            await environment.start(self.function.timeout)
        except InitError as error:
            self._environments.discard(environment)
            _report(self.function, "invoke", error)
            if self._waiting:
                self._waiting.popleft().set_exception(error)

    def _on_ready(self, environment: Environment) -> None:
        if self._waiting:
            self._busy.add(environment)
            self._waiting.popleft().set_result(environment)
        else:
            self._busy.discard(environment)
            self._idle.append(environment)

    def _on_exit(self, environment: Environment) -> None:
        self._environments.discard(environment)
        self._busy.discard(environment)
        if environment in self._idle:
            self._idle.remove(environment)


def _report(function: Function, phase: str, error: InitError) -> None:
    status = "timeout" if error.failure.error_type == "Sandbox.Timedout" else "error"
    report = f"INIT_REPORT Phase: {phase} Status: {status} Error Type: {error.failure.error_type}"
    print(f"[{function.name}] {report}", file=sys.stderr, flush=True)
