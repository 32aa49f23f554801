"""The catalog compared with the models that Bedrock lists: `python -m tools.models compare` calls the stand-in."""

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from converse_stream.model.catalog import Catalog
from local_stack.bedrock.models import Lifecycle, ListedModel
from tests.wire.bedrock_standin import standin
from tools.models import __main__ as command
from tools.models import account
from tools.models.comparison import Listed, differences
from tools.models.comparison import ListedModel as ModelOfBedrock

REGION = "us-east-1"
OPUS = "anthropic.claude-opus-5-5"
LITE = "amazon.nova-lite-v1:0"
GPT_OSS = "openai.gpt-oss-120b-1:0"
LEGACY = Lifecycle("LEGACY", legacy="2026-09-07", end="2027-03-08")

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
NO_OTHER_CONFIGURATION = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_BEARER_TOKEN_BEDROCK": "",
}

Models = dict[str, ListedModel]
Compare = Callable[..., tuple[str | int, list[str]]]


def agreeing() -> Models:
    """The stand-in's models, as the catalog describes them."""
    catalog = Catalog("global", REGION)
    models = {model.base_id: model for model in map(catalog.entry, catalog.names)}
    return {
        model.base_id: ListedModel(
            inputs=frozenset(model.inputs),
            profiles=frozenset(model.profiles.keys() - {"none"}),
            in_region=frozenset({REGION} if "none" in model.profiles else set()),
            lifecycle=Lifecycle("LEGACY" if model.lifecycle == "legacy" else "ACTIVE"),
        )
        for model in models.values()
    }


@pytest.fixture
def compare(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Runs the command. Returns its exit status or error message, and the lines that it prints."""

    def run(models: Models, **environment: str) -> tuple[str | int, list[str]]:
        with standin(models=models) as server:
            endpoint = {"AWS_ENDPOINT_URL_BEDROCK": server.url, **CREDENTIALS, **NO_OTHER_CONFIGURATION}
            for name, value in (endpoint | environment).items():
                if value:
                    monkeypatch.setenv(name, value)
                else:
                    monkeypatch.delenv(name, raising=False)
            result = command.main(["compare", "--region", REGION])
        return result, capsys.readouterr().out.splitlines()

    return run


def changed(models: Models, model_id: str, **changes: Any) -> Models:
    return models | {model_id: replace(models[model_id], **changes)}


def without(models: Models, model_id: str) -> Models:
    return {name: model for name, model in models.items() if name != model_id}


def test_catalog_that_agrees_has_no_differences(compare: Compare) -> None:
    assert compare(agreeing()) == (0, [f"The catalog agrees with Bedrock in {REGION}."])


@pytest.mark.parametrize(
    ("models", "difference"),
    [
        (agreeing() | {"anthropic.claude-opus-7": ListedModel(profiles=frozenset())}, "new: anthropic.claude-opus-7"),
        (without(agreeing(), GPT_OSS), f"gone: gpt-oss-120b ({GPT_OSS}) is not in us-east-1"),
        (
            changed(agreeing(), LITE, lifecycle=LEGACY),
            f"going: nova-lite ({LITE}) is legacy since 2026-09-07, ends 2027-03-08",
        ),
        (
            changed(agreeing(), LITE, profiles=frozenset({"us", "eu", "apac", "global"})),
            "profile: the catalog lacks global of nova-lite",
        ),
        (
            changed(agreeing(), OPUS, profiles=frozenset({"us"})),
            f"profile: global.{OPUS} of claude-opus-5-5 is not in us-east-1",
        ),
        (
            changed(agreeing(), OPUS, in_region=None),
            "profile: claude-opus-5-5 can be called without a profile, the catalog lacks none",
        ),
        (
            changed(agreeing(), GPT_OSS, in_region=frozenset()),
            "profile: gpt-oss-120b cannot be called without a profile in us-east-1",
        ),
        (
            changed(agreeing(), OPUS, inputs=frozenset({"text"})),
            "inputs: claude-opus-5-5 accepts no image, the catalog has it",
        ),
        (
            changed(agreeing(), GPT_OSS, inputs=frozenset({"text", "image"})),
            "inputs: gpt-oss-120b accepts image, the catalog lacks it",
        ),
        (
            changed(agreeing(), "anthropic.claude-sonnet-5", lifecycle=Lifecycle()),
            "lifecycle: claude-sonnet-5 is active, the catalog says legacy",
        ),
    ],
)
def test_difference_is_found(compare: Compare, models: Models, difference: str) -> None:
    assert compare(models) == (1, [difference])


@pytest.mark.parametrize(
    "models",
    [
        agreeing() | {"vendor.other-model-v1:0": ListedModel(profiles=frozenset())},
        agreeing() | {"anthropic.claude-opus-4-1-20250805-v1:0": ListedModel(profiles=frozenset(), lifecycle=LEGACY)},
    ],
    ids=["another family", "a legacy model"],
)
def test_model_that_the_catalog_need_not_have_is_no_difference(compare: Compare, models: Models) -> None:
    assert compare(models)[0] == 0


def test_model_that_does_not_stream_is_a_difference() -> None:
    """Nova Micro is not streamed by a decision of the catalog; that Bedrock could stream it is no difference."""
    models = {
        name: ModelOfBedrock(name, frozenset(model.inputs), name != OPUS, bool(model.in_region))
        for name, model in agreeing().items()
    }
    profiles = frozenset(f"{profile}.{name}" for name, model in agreeing().items() for profile in model.profiles or ())
    found = differences(Listed(REGION, models, profiles), [])
    assert "streaming: claude-opus-5-5 does not stream" in found
    assert not [line for line in found if line.startswith("streaming: nova-micro")]


def test_profiles_are_read_from_every_page(compare: Compare) -> None:
    fillers = {f"vendor.model-{number}": ListedModel(profiles=frozenset({"us"})) for number in range(150)}
    assert compare(fillers | agreeing())[0] == 0


def test_missing_credentials_are_named(compare: Compare) -> None:
    result, _ = compare(agreeing(), AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert str(result).startswith("There are no AWS credentials.")


def test_unreachable_region_is_named(compare: Compare) -> None:
    result, _ = compare(agreeing(), AWS_ENDPOINT_URL_BEDROCK="http://127.0.0.1:1")
    assert str(result).startswith("Bedrock cannot be reached in us-east-1.")


def test_missing_rights_are_named(compare: Compare) -> None:
    class Denied(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403)
            self.send_header("x-amzn-errortype", "AccessDeniedException")
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Denied) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            result, _ = compare(agreeing(), AWS_ENDPOINT_URL_BEDROCK=f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()
    assert account.RIGHTS in str(result)
