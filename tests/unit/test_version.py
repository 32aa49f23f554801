"""The version in pyproject.toml is also in the files that cannot read it from there."""

import json
import tomllib

from converse_stream.openapi.document import document
from tests.stack import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def test_openapi_json_has_the_version() -> None:
    assert document()["info"]["version"] == VERSION


def test_browser_client_has_the_version() -> None:
    package = json.loads((ROOT / "web/client/package.json").read_text(encoding="utf-8"))
    assert package["version"] == VERSION
