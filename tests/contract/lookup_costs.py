"""What TLS costs the start of an execution environment, its first lookup, and one after a minute without requests.

`python -m tests.contract.lookup_costs` is the measured process. It prints the costs as JSON. Environment variables
name the table, the model and the certificates.
"""

import gc
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from converse_stream import service
from converse_stream.auth import User
from converse_stream.container import Container
from converse_stream.http.bodies import ChatRequest
from converse_stream.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PATHS = ("layers/converse_stream", "layers/streaming_runtime", ".")


@dataclass(frozen=True)
class Cost:
    cpu_seconds: float  # of all threads of the process
    certificate_reads: int
    handshakes: int


@dataclass(frozen=True)
class Costs:
    certificates: Cost  # one reading of the certificates
    start: Cost
    first: Cost  # lookup
    second: Cost
    later: Cost  # lookup, after a minute without requests


def measure_costs(certificates: Path, *, table: str, model: str) -> Costs:
    """Returns the costs with the table and the model at these URLs."""
    variables = {
        "PYTHONPATH": os.pathsep.join(str(ROOT / path) for path in PATHS),
        "AWS_CA_BUNDLE": str(certificates),
        "AWS_ENDPOINT_URL_DYNAMODB": table,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model,
    }
    command = [sys.executable, "-m", "tests.contract.lookup_costs"]
    process = subprocess.run(command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return Costs(**{name: Cost(**cost) for name, cost in json.loads(process.stdout).items()})


def main() -> None:
    gc.disable()
    containers: list[Container] = []
    settings = Settings(table_name="ChatTable", auth_mode="dev", url_auth_type="AWS_IAM", memory_milliseconds=5_000)
    request = ChatRequest.model_validate({"message": {"text": "hi"}})

    def lookup() -> None:
        assert service.preview(containers[0], User("alice", "address"), request).missing == ()

    certificates = min((_measure(_read_certificates) for _ in range(5)), key=lambda cost: cost.cpu_seconds)
    start = _measure(lambda: containers.append(Container(settings)))
    first, second = _measure(lookup), _measure(lookup)
    with mock.patch("time.time", return_value=time.time() + 60):
        later = _measure(lookup)
    print(json.dumps(asdict(Costs(certificates, start, first, second, later))))  # noqa: T201 - `measure_costs` reads it


def _measure(work: Callable[[], object]) -> Cost:
    with _count("load_verify_locations") as reads, _count("wrap_socket") as handshakes:
        started_at = time.process_time()
        work()
        seconds = time.process_time() - started_at
    return Cost(seconds, reads.call_count, handshakes.call_count)


@contextmanager
def _count(method: str) -> Iterator[mock.Mock]:
    """Counts the calls of a method of all TLS contexts."""
    calls, original = mock.Mock(), getattr(ssl.SSLContext, method)

    def counted(context: ssl.SSLContext, *arguments: Any, **options: Any) -> Any:
        calls()
        return original(context, *arguments, **options)

    with mock.patch.object(ssl.SSLContext, method, counted):
        yield calls


def _read_certificates() -> None:
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(os.environ["AWS_CA_BUNDLE"])


if __name__ == "__main__":
    main()
