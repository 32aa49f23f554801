"""The recorded replies of the browser client's tests are those of the server."""

import json

from tests.clients.replies import FILE, record_replies


def test_recorded_replies_equal_those_of_the_server() -> None:
    """If this fails and the server is correct, record them again: `python -m tests.clients.replies`."""
    replies, current = json.loads(FILE.read_text(encoding="utf-8")), record_replies()
    assert current.keys() == replies.keys()
    for name, reply in current.items():
        assert reply == replies[name], name
