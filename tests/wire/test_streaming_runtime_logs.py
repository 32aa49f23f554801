"""The log lines and metrics of the streaming runtime, in a real process."""

import json
import re
from pathlib import Path

import pytest

from tests.wire.runtime_api import Invocation, Runtime, RuntimeApi, refuse, run

URL = {"version": "2.0", "requestContext": {"domainName": "abc.lambda-url.us-east-1.on.aws"}}
BROKEN = """
from streaming_runtime import StreamingResponse
def body():
    yield b"so far"
    raise ValueError("broken")
def handler(event, context): return StreamingResponse(body())
"""
CONFIGURED = """
import logging, logging.config
logging.config.dictConfig({"version": 1, "root": {"handlers": []}})
"""
LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]
LEVEL_NAMES = {"WARNING": "WARN", "CRITICAL": "FATAL"}  # Lambda reads both


def lines(log: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.splitlines() if line]


def test_logging_of_the_function_does_not_silence_the_runtime(tmp_path: Path) -> None:
    _, log = run(tmp_path, CONFIGURED + BROKEN, Invocation(URL))
    assert re.search(r"^\[ERROR\]\t\S+Z\t1\tresponse interrupted$", log, re.MULTILINE)
    assert "ValueError: broken" in log
    assert '"InterruptedResponses": 1' in log


def test_handlers_that_the_function_gives_the_logger_are_used(tmp_path: Path) -> None:
    own = """
import logging
handler = logging.StreamHandler()
handler.setFormatter(logging.Formatter("OWN %(message)s"))
logging.getLogger("streaming_runtime").addHandler(handler)
logging.getLogger("streaming_runtime").propagate = False
"""
    _, log = run(tmp_path, own + BROKEN, Invocation(URL))
    assert "OWN response interrupted" in log
    assert "[ERROR]" not in log


@pytest.mark.parametrize("level", LEVELS)
def test_json_lines_are_never_below_the_filter_of_lambda(tmp_path: Path, level: str) -> None:
    variables = {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": level}
    _, log = run(tmp_path, BROKEN, Invocation(URL), Invocation(URL, refuse(413)), variables=variables)
    found = lines(log)
    metrics = {name for line in found for name in line if name.endswith("Responses")}
    assert metrics == {"InterruptedResponses", "RefusedResponses"}
    assert sum("refused by the Runtime API" in str(line.get("message")) for line in found) == 1
    for line in found:
        name = LEVEL_NAMES.get(str(line["level"]), str(line["level"]))
        assert LEVELS.index(name) >= LEVELS.index(level), line
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(line["timestamp"])), line


def test_each_line_is_one_frame_of_lambdas_log_socket(tmp_path: Path) -> None:
    """A frame is a type, which has the level, the length, a time stamp and the message."""
    variables = {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "WARN", "_LAMBDA_TELEMETRY_LOG_FD": "2"}
    runtime = Runtime(tmp_path, CONFIGURED + BROKEN, variables)
    with RuntimeApi(Invocation(URL)) as api, runtime.running(api.address) as process:
        api.wait_until_idle(process)
    data, frames = runtime.log_bytes, []
    while data:
        length = int.from_bytes(data[4:8], "big")
        frames.append((data[:4].hex(), json.loads(data[16 : 16 + length])))
        data = data[16 + length :]
    assert [(kind, line["level"]) for kind, line in frames] == [("a55a0012", "WARN"), ("a55a0016", "ERROR")]
    assert frames[0][1]["InterruptedResponses"] == 1
    assert frames[1][1]["message"] == "response interrupted"
