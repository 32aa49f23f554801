"""What the browser client's tests are told is what the server says."""

import json

from tests.clients.replies import FILE, recorded


def test_the_recorded_replies_are_what_the_server_says() -> None:
    """If the server is right, record them anew: `python -m tests.clients.replies`."""
    replies, said = json.loads(FILE.read_text(encoding="utf-8")), recorded()
    assert said.keys() == replies.keys()
    for name, reply in said.items():
        assert reply == replies[name], name
