"""Log lines of failures, without the texts of users."""

import json
import logging
import sys
from typing import Any

import pytest

from converse_stream.protocol.errors import ChatError, NotFound
from converse_stream.telemetry import hide_unexpected_errors, log_caller, logger

SECRET = "".join(["what ", "a user ", "said"])  # in parts, because a traceback quotes lines of source


def log_line(*, failed: bool = True) -> dict[str, Any]:
    record = logging.LogRecord("chat", logging.ERROR, "", 1, "failed", None, sys.exc_info() if failed else None)
    parsed: dict[str, Any] = json.loads(logger.registered_formatter.format(record))
    return parsed


def fail() -> None:
    try:
        dict[str, str]().pop(SECRET)
    except KeyError as error:
        raise ValueError(SECRET) from error


def test_exception_is_logged_with_types_and_place_but_without_its_message() -> None:
    try:
        fail()
    except ValueError:
        logged = log_line()
    assert SECRET not in json.dumps(logged)
    assert logged["exception_name"] == "ValueError"
    assert "in fail" in logged["exception"]
    assert logged["exception"].endswith("KeyError\n")


def test_unexpected_exception_becomes_a_chat_error_without_its_message() -> None:
    with pytest.raises(ChatError) as raised, hide_unexpected_errors():
        fail()
    assert (type(raised.value), raised.value.__cause__, raised.value.__suppress_context__) == (ChatError, None, True)
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
def test_log_line_has_the_user_and_a_valid_conversation_id(path: str, conversation: str | None) -> None:
    logger.remove_keys(["user", "conversation"])  # another test may have set them
    log_caller("0123456789abcdef", path)
    try:
        logged = log_line(failed=False)
    finally:
        logger.remove_keys(["user", "conversation"])
    assert (logged["user"], logged.get("conversation")) == ("0123456789ab", conversation)
