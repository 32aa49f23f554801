"""A scripted Runtime API on raw sockets. It records what a runtime sends, and can refuse or reset responses."""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Self

import h11

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers" / "streaming_runtime"
LAMBDA_BOOTSTRAP = ROOT / "local_stack" / "lambda_service" / "var_runtime" / "bootstrap.py"
WAIT_SECONDS = 30.0  # the timeout of a wait


@dataclass
class Post:
    """A POST of the runtime: its HTTP chunks, and the time at which each was complete."""

    target: str
    headers: dict[str, str]
    chunks: list[bytes] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    size: int = 0
    trailers: dict[str, str] | None = None  # None: the body did not end
    connection_closed: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def prelude(self) -> dict[str, object]:
        """The prelude, which must be the complete first chunk."""
        assert self.chunks[0].endswith(b"}" + bytes(8))
        prelude: dict[str, object] = json.loads(self.chunks[0][:-8])
        return prelude

    @property
    def payload(self) -> bytes:
        return b"".join(self.chunks[1:])


class Peer:
    """The server's end of one connection."""

    def __init__(self, connection: socket.socket, log: list[str]) -> None:
        self.socket = connection
        self.http = h11.Connection(h11.SERVER)
        self.log = log

    def event(self) -> h11.Event:
        while not isinstance(event := self.http.next_event(), h11.Event):
            self.http.receive_data(self.socket.recv(65536))
        return event

    def read(self, post: Post, *, until: float = float("inf"), keep: bool = True) -> None:
        """Reads the body to its end, or at least `until` bytes."""
        chunk_complete = True
        while post.size < until:
            event = self.event()
            if not isinstance(event, h11.Data):
                assert isinstance(event, h11.EndOfMessage), event
                post.trailers = _strings(event.headers)
                return
            post.size += len(event.data)
            if keep and chunk_complete:
                post.chunks.append(bytes(event.data))
                post.times.append(time.monotonic())
            elif keep:
                post.chunks[-1] += bytes(event.data)
                post.times[-1] = time.monotonic()
            chunk_complete = event.chunk_end

    def reply(self, status: int, body: bytes = b'{"status":"OK"}', headers: Sequence[tuple[str, str]] = ()) -> None:
        if status != 200:
            self.log.append(str(status))
        lengths = [("content-type", "application/json"), ("content-length", str(len(body)))]
        response = h11.Response(status_code=status, headers=[*lengths, *headers])
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.socket.sendall(self.http.send(event))


PostHandler = Callable[[Peer, Post], None]


def accept(peer: Peer, post: Post) -> None:
    peer.read(post)
    peer.reply(202)


def count_only(peer: Peer, post: Post) -> None:
    peer.read(post, keep=False)
    peer.reply(202)


def refuse(status: int, *, after: float = float("inf")) -> PostHandler:
    """Returns a handler that refuses after `after` bytes, or at the end, and keeps the connection open."""

    def handle(peer: Peer, post: Post) -> None:
        peer.read(post, until=after)
        peer.reply(status, b'{"errorType":"Refused"}')

    return handle


def reset(*, after: int) -> PostHandler:
    def handle(peer: Peer, post: Post) -> None:
        peer.read(post, until=after)
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.socket.close()

    return handle


@dataclass(frozen=True)
class Invocation:
    event: object
    handler: PostHandler = accept
    headers: tuple[tuple[str, str], ...] = ()
    seconds: float = 60.0  # time until the deadline


class RuntimeApi:
    """Returns the invocations one by one, then blocks /next.

    `log` has the requests and responses in order: "next", "response", "error", the status codes except 200, and marks.
    A mark is any other GET that a handler sends.
    """

    def __init__(self, *invocations: Invocation) -> None:
        self.posts: list[Post] = []
        self.log: list[str] = []
        self._invocations = invocations
        self._dispatched = 0
        self._waiting = 0
        self._changed = threading.Condition()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20
        )  # small, so that a late reader blocks the runtime soon
        self._connections: list[tuple[socket.socket, threading.Thread]] = []
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection, thread in self._connections:
            thread.join(5)  # the last requests of the runtime are still being recorded
            connection.close()

    def wait_until_idle(self, runtime: "subprocess.Popen[bytes]", waiting: int = 1) -> None:
        """Returns when every invocation has ended and `waiting` processes wait in /next."""
        deadline = time.monotonic() + WAIT_SECONDS
        with self._changed:
            while self._dispatched < len(self._invocations) or self._waiting < waiting:
                self._changed.wait(0.2)
                assert runtime.poll() is None, f"the runtime exited with {runtime.returncode}"
                assert time.monotonic() < deadline, f"timeout after {self.log}"

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Returns when the condition is true."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"timeout after {self.log}"
            time.sleep(0.02)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=[connection], daemon=True)
            self._connections.append((connection, thread))
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        peer = Peer(connection, self.log)
        with contextlib.suppress(
            OSError, h11.RemoteProtocolError
        ):  # the runtime exited, or the script reset the connection
            while isinstance(request := peer.event(), h11.Request):
                self._answer(peer, request)
                if peer.http.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                    return
                peer.http.start_next_cycle()

    def _answer(self, peer: Peer, request: h11.Request) -> None:
        target = request.target.decode()
        name = target.rpartition("/")[2]
        self.log.append("restore" if "restore" in target else name)
        if request.method == b"GET":
            peer.event()
            if target.endswith("/invocation/next"):
                self._dispatch(peer)
            else:
                peer.reply(200)
            return
        post = Post(target, _strings(request.headers))
        self.posts.append(post)
        handle = self._invocations[int(target.split("/")[-2]) - 1].handler if "/invocation/" in target else accept
        handle(peer, post)
        if post.trailers is not None and "lambda-runtime-function-response-mode" in post.headers:
            post.connection_closed = peer.socket.recv(1) == b""

    def _dispatch(self, peer: Peer) -> None:
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            while self._dispatched == len(self._invocations) and not self._closed:
                self._changed.wait()
            if self._closed:
                raise ConnectionAbortedError
            self._waiting -= 1
            invocation = self._invocations[self._dispatched]
            self._dispatched += 1
        body = invocation.event if isinstance(invocation.event, bytes) else json.dumps(invocation.event).encode()
        headers = [
            ("Lambda-Runtime-Aws-Request-Id", str(self._dispatched)),
            ("Lambda-Runtime-Deadline-Ms", str(int((time.time() + invocation.seconds) * 1000))),
            ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:f"),
            *invocation.headers,
        ]
        peer.reply(200, body, headers)


def _strings(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}


class Runtime:
    """A runtime process as Lambda starts it. `handler` is the source of the function's app.py.

    `plain`: awslambdaric without the layer. `files` are further files by their path, below "var task" or "opt".
    """

    def __init__(
        self,
        folder: Path,
        handler: str,
        variables: Mapping[str, str],
        *,
        plain: bool = False,
        files: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.task, self.opt = folder / "var task", folder / "opt"
        packages = self.opt / "streaming-runtime"
        for created in (self.task, self.opt / "python", packages):
            created.mkdir(parents=True)
        (self.task / "app.py").write_text(handler)
        (self.opt / "streaming-bootstrap").symlink_to(LAYER / "streaming-bootstrap")
        (packages / "start.py").symlink_to(LAYER / "streaming-runtime" / "start.py")
        (packages / "streaming_runtime").symlink_to(LAYER / "streaming_runtime")
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            path.chmod(0o755)
        bootstrap = [sys.executable, str(LAMBDA_BOOTSTRAP)]
        self.command = bootstrap if plain else [str(self.opt / "streaming-bootstrap"), *bootstrap]
        self.variables = {
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "_HANDLER": "app.handler",
            "LAMBDA_TASK_ROOT": str(self.task),
            "LAMBDA_RUNTIME_DIR": str(LAMBDA_BOOTSTRAP.parent),
            "LOCAL_STACK_OPT": str(self.opt),
            "AWS_LAMBDA_FUNCTION_NAME": "f",
            **variables,
        }
        self._log = folder / "log"

    @contextlib.contextmanager
    def running(self, api_address: str) -> Iterator["subprocess.Popen[bytes]"]:
        variables = {**self.variables, "AWS_LAMBDA_RUNTIME_API": api_address}
        with (
            self._log.open("wb") as log,
            subprocess.Popen(
                self.command, cwd=self.task, env=variables, stdout=log, stderr=log, start_new_session=True
            ) as process,
        ):
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def log_bytes(self) -> bytes:
        return self._log.read_bytes()


def run(
    folder: Path,
    handler: str,
    *invocations: Invocation,
    variables: Mapping[str, str] = MappingProxyType({}),
    plain: bool = False,
    processes: int = 1,
    files: Mapping[str, str] = MappingProxyType({}),
) -> tuple[RuntimeApi, str]:
    """Runs a runtime until it has answered the invocations. Returns the API with its records, and the runtime's log."""
    runtime = Runtime(folder, handler, variables, plain=plain, files=files)
    with RuntimeApi(*invocations) as api, runtime.running(api.address) as process:
        try:
            api.wait_until_idle(process, processes)
        except AssertionError as error:
            error.add_note(runtime.log)
            raise
    return api, runtime.log
