"""DynamoDB Local, AWS's own: a process on a free port, its tables in memory."""

import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[3]
JARS = ROOT / ".dynamodb-local"
READY_SECONDS = 60
STOP_SECONDS = 10

# Ends when the server does, and ends the server when its own standard input is closed: also by the death of the tests.
_TIED = """
exec 3<&0
"$@" 3<&- & server=$!
(cat <&3; kill -KILL $server) >/dev/null 2>&1 &
wait $server
"""


class Endpoint(Protocol):
    """A DynamoDB that the tests may ask."""

    @property
    def url(self) -> str:
        """Where it listens."""


def missing() -> str | None:
    """Why DynamoDB Local cannot run here, or None when it can."""
    if not shutil.which("java"):
        return "DynamoDB Local needs Java 17"
    if not (JARS / "installed").exists():
        return "DynamoDB Local is not installed: `make .dynamodb-local/installed`, which needs Maven"
    return None


class DynamoDBLocal:
    """Tables that live as long as this object, the same for all keys and regions."""

    def __init__(self) -> None:
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # closed by stop()
        java = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m", "-cp", f"{JARS}/*"]
        server = ["software.amazon.dynamodb.services.local.main.ServerRunner", "-port", str(port)]
        options = ["-inMemory", "-sharedDb", "-disableTelemetry"]
        self._process = subprocess.Popen(
            ["sh", "-c", _TIED, "sh", *java, *server, *options],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def wait(self) -> None:
        """Return when it answers. Raises RuntimeError, with what it said, when it ends or stays silent."""
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._output.seek(0)
                raise RuntimeError(f"DynamoDB Local did not start: {self._output.read().decode()}")
            time.sleep(0.05)

    def stop(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(STOP_SECONDS)
        self._output.close()

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(self.url, timeout=1).close()  # noqa: S310  # our own
        except urllib.error.HTTPError as refusal:  # it is no request that it knows, but it answers
            refusal.close()
        except OSError:
            return False
        return self._process.poll() is None


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
