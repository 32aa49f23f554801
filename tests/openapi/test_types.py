"""The types of the protocol in the browser client match openapi.json."""

from tests.stack import ROOT
from web.protocol import declarations


def test_types_of_the_browser_client_are_up_to_date() -> None:
    assert (ROOT / "web/client/protocol.d.ts").read_text(encoding="utf-8") == declarations(), "stale: run `make web`"
