"""The benchmark of the built functions runs, and refuses to measure an answer that is not complete."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable

import pytest

from bench.contenders.contender import token_times
from bench.servers.http import Message
from bench.servers.model import WORD
from tests.stack import ROOT

TERMINAL = b'data: {"type":"complete"}\n\n'


def response(*parts: bytes) -> Message:
    """A response whose parts arrived one after the other, at the times 0, 1, 2 and so on."""
    return Message(tuple((float(at), part) for at, part in enumerate((b"POST / HTTP/1.1\r\n\r\n", *parts))))


def words(counts: Iterable[int]) -> list[bytes]:
    return [WORD.encode() * count for count in counts]


@pytest.mark.long
@pytest.mark.xdist_group("processor")
def test_the_benchmark_measures_the_built_functions_with_everything_on() -> None:
    rows = ["--only=calls", "--only=cold", "--only=size"]
    run = subprocess.run(
        [sys.executable, "bench/functions.py", "--rounds=1", "--no-peers", *rows],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert run.returncode == 0, run.stderr
    values = dict(re.findall(r"^\| (.+?) \| ([\d.,]+) \|$", run.stdout, re.MULTILINE))
    assert "cold: process start to the first `next`, ms" in values
    assert "unzipped size of layers and functions, MB" in values
    assert int(values["store calls before the model is called"]) < int(values["store calls of a message"])


def test_each_token_has_the_time_of_the_read_that_completes_it() -> None:
    first, rest = words([1])[0][:3], words([1])[0][3:]
    assert token_times(response(*words([1, 2]), first, rest + TERMINAL)) == [1, 2, 2, 4]


def test_the_text_in_the_terminal_event_is_not_counted() -> None:
    terminal = b'data: {"type":"complete","text":"%b"}\n\n' % WORD.encode()
    assert token_times(response(*words([1]), terminal)) == [1]


def test_a_response_without_a_terminal_event_has_no_tokens() -> None:
    assert token_times(response(*words([1, 2]))) == []
