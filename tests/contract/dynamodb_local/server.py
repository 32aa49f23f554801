"""AWS's DynamoDB Local: a process on a free port with its tables in memory."""

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

# Ends with the server. Kills the server when its standard input is closed, so also when the tests are killed.
_KILL_ON_CLOSED_STDIN = """
exec 3<&0
"$@" 3<&- & server=$!
(cat <&3; kill -KILL $server) >/dev/null 2>&1 &
wait $server
"""


class Endpoint(Protocol):
    """A DynamoDB server for the tests."""

    @property
    def url(self) -> str:
        """Its URL."""


def missing() -> str | None:
    """Returns why DynamoDB Local cannot run here, or None if it can."""
    if not shutil.which("java"):
        return "DynamoDB Local needs Java 17"
    if not (JARS / "installed").exists():
        return "DynamoDB Local is not installed: `make .dynamodb-local/installed`, which needs Maven"
    return None


class DynamoDBLocal:
    """A server whose tables live as long as this object and are the same for all access keys and regions."""

    def __init__(self) -> None:
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # closed by stop()
        java = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m", "-cp", f"{JARS}/*"]
        server = ["software.amazon.dynamodb.services.local.main.ServerRunner", "-port", str(port)]
        options = ["-inMemory", "-sharedDb", "-disableTelemetry"]
        self._process = subprocess.Popen(
            ["sh", "-c", _KILL_ON_CLOSED_STDIN, "sh", *java, *server, *options],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def wait(self) -> None:
        """Returns when the server responds. Raises RuntimeError with its output if it exits or does not respond."""
        deadline = time.monotonic() + READY_SECONDS
        while not self._responds():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._output.seek(0)
                raise RuntimeError(f"DynamoDB Local did not start: {self._output.read().decode()}")
            time.sleep(0.05)

    def stop(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(STOP_SECONDS)
        self._output.close()

    def _responds(self) -> bool:
        try:
            urllib.request.urlopen(self.url, timeout=1).close()  # noqa: S310  # a fixed local URL
        except urllib.error.HTTPError as refusal:  # an invalid request, but the server responds
            refusal.close()
        except OSError:
            return False
        return self._process.poll() is None


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
