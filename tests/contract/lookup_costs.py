"""`python -m tests.contract.lookup_costs`: what the first lookup of an environment costs, and one after a pause.

Prints CPU seconds of this process as JSON: of one reading of the certificates, of the application's start, of its
first lookup and of one after a minute of silence. The environment variables name the table and the certificates.
"""

import gc
import json
import os
import ssl
import time
from collections.abc import Callable
from unittest import mock

from chat.application import Application
from chat.auth import User
from chat.requests import ChatRequest
from chat.settings import Settings

ALICE = User("alice", "address")


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds that all threads of the process used meanwhile."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def read_certificates() -> None:
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(os.environ["AWS_CA_BUNDLE"])


def main() -> None:
    gc.disable()
    made: list[Application] = []
    settings = Settings(table_name="ChatTable", auth_mode="dev", url_auth_type="AWS_IAM", memory_milliseconds=5_000)
    costs = {"certificates": min(cpu(read_certificates) for _ in range(5))}
    costs["start"] = cpu(lambda: made.append(Application(settings)))
    [app] = made

    asked = ChatRequest.model_validate({"message": {"text": "hi"}})

    def lookup() -> None:
        assert app.preview(ALICE, asked).missing == ()

    costs["first"] = cpu(lookup)
    costs["second"] = cpu(lookup)
    with mock.patch("time.time", return_value=time.time() + 60):
        costs["later"] = cpu(lookup)
    print(json.dumps(costs))  # noqa: T201 - whoever started it reads this


if __name__ == "__main__":
    main()
