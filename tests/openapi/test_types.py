"""The browser client's types of the protocol are those of the description."""

from tests.stack import ROOT
from web.protocol import declarations


def test_the_types_are_made_of_the_description_as_it_is() -> None:
    assert (ROOT / "web/client/protocol.d.ts").read_text(encoding="utf-8") == declarations(), "stale: run `make web`"
