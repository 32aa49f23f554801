"""pyproject.toml has the version; what cannot read it there has the same."""

import json
import tomllib

from converse_stream.openapi.document import document
from tests.stack import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def test_openapi_json_has_the_version() -> None:
    assert document()["info"]["version"] == VERSION


def test_the_browser_client_has_the_version() -> None:
    package = json.loads((ROOT / "web/client/package.json").read_text(encoding="utf-8"))
    assert package["version"] == VERSION
