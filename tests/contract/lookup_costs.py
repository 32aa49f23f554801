"""CPU seconds of the first lookup of an execution environment, and of one after a minute without requests.

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
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

from converse_stream import service
from converse_stream.auth import User
from converse_stream.container import Container
from converse_stream.http.bodies import ChatRequest
from converse_stream.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PATHS = ("layers/converse_stream", "layers/streaming_runtime", ".")


@dataclass(frozen=True)
class Costs:
    """CPU seconds of all threads of the process."""

    certificates: float  # one reading of the certificates
    start: float
    first: float  # lookup
    second: float
    later: float  # lookup, after a minute without requests


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
    return Costs(**json.loads(process.stdout))


def main() -> None:
    gc.disable()
    containers: list[Container] = []
    settings = Settings(table_name="ChatTable", auth_mode="dev", url_auth_type="AWS_IAM", memory_milliseconds=5_000)
    request = ChatRequest.model_validate({"message": {"text": "hi"}})

    def lookup() -> None:
        assert service.preview(containers[0], User("alice", "address"), request).missing == ()

    certificates = min(_cpu(_read_certificates) for _ in range(5))
    start = _cpu(lambda: containers.append(Container(settings)))
    first, second = _cpu(lookup), _cpu(lookup)
    with mock.patch("time.time", return_value=time.time() + 60):
        later = _cpu(lookup)
    print(json.dumps(asdict(Costs(certificates, start, first, second, later))))  # noqa: T201 - `measure_costs` reads it


def _cpu(work: Callable[[], object]) -> float:
    started_at = time.process_time()
    work()
    return time.process_time() - started_at


def _read_certificates() -> None:
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(os.environ["AWS_CA_BUNDLE"])


if __name__ == "__main__":
    main()
