"""What a line of the log says of a failure."""

import json
import logging
import sys
from typing import Any

import pytest

from converse_stream.protocol.errors import ChatError, NotFound
from converse_stream.telemetry import hide_unexpected_errors, log_caller, logger

SECRET = "".join(["what ", "a user ", "said"])  # as it stands in no line of source, which a traceback quotes


def line(*, failed: bool = True) -> dict[str, Any]:
    record = logging.LogRecord("chat", logging.ERROR, "", 1, "failed", None, sys.exc_info() if failed else None)
    read: dict[str, Any] = json.loads(logger.registered_formatter.format(record))
    return read


def fail() -> None:
    try:
        dict[str, str]().pop(SECRET)
    except KeyError as error:
        raise ValueError(SECRET) from error


def test_an_exception_is_its_place_and_type_and_that_of_its_cause() -> None:
    try:
        fail()
    except ValueError:
        said = line()
    assert SECRET not in json.dumps(said)
    assert said["exception_name"] == "ValueError"
    assert "in fail" in said["exception"]
    assert said["exception"].endswith("KeyError\n")


def test_what_nobody_foresaw_leaves_without_its_text() -> None:
    with pytest.raises(ChatError) as told, hide_unexpected_errors():
        fail()
    assert (type(told.value), told.value.__cause__, told.value.__suppress_context__) == (ChatError, None, True)
    with pytest.raises(NotFound), hide_unexpected_errors():
        raise NotFound


@pytest.mark.parametrize(
    ("path", "conversation"),
    [
        ("/chat/conversation-1/stream", "conversation-1"),
        ("/ai/chat/conversation-1/stop", "conversation-1"),
        ("/conversations/conversation-1", "conversation-1"),
        ("/conversations/short", None),
        ("/conversations/what%20I%20said", None),
        ("/v1/models/nova-lite", None),
    ],
)
def test_lines_name_the_caller_and_a_conversation_that_may_be_one(path: str, conversation: str | None) -> None:
    logger.remove_keys(["user", "conversation"])  # which another test may have left
    log_caller("0123456789abcdef", path)
    try:
        said = line(failed=False)
    finally:
        logger.remove_keys(["user", "conversation"])
    assert (said["user"], said.get("conversation")) == ("0123456789ab", conversation)
