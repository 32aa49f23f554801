"""The models that callers may use: aliases, ids, patterns and ARNs."""

import pytest

from converse_stream.model.allowed import AllowedModels
from converse_stream.model.catalog import Catalog

APPLICATION = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abcdefgh1234"


def allowed(*names: str, default: str = "nova-lite", setting: str = "eu") -> AllowedModels:
    return AllowedModels(Catalog(setting, "eu-west-1"), names, default)


@pytest.mark.parametrize(
    ("setting", "permitted", "refused"),
    [
        (
            "claude-sonnet",
            ["claude-sonnet", "claude-sonnet-5-5", "anthropic.claude-sonnet-5-5", "eu.anthropic.claude-sonnet-5-5"],
            [
                "claude-haiku",
                "claude-sonnet-4-5",
                "global.anthropic.claude-sonnet-5-5",
                "anthropic.claude-sonnet-7-v1:0",
            ],
        ),
        ("anthropic.claude-sonnet-7-v1:0", ["anthropic.claude-sonnet-7-v1:0"], ["anthropic.claude-sonnet-8-v1:0"]),
        (
            "anthropic.*",
            ["claude-opus", "anthropic.claude-sonnet-7-v1:0", "eu.anthropic.claude-haiku-5-5"],
            ["global.anthropic.claude-haiku-5-5", "us.anthropic.claude-haiku-5-5", "nova-pro", APPLICATION],
        ),
        ("global.anthropic.*", ["global.anthropic.claude-haiku-5-5"], ["claude-haiku", "anthropic.claude-haiku-5-5"]),
        (APPLICATION, [APPLICATION], [APPLICATION + "5", "claude-haiku"]),
        (
            "*",
            ["claude-opus", "vendor.new-model-1", APPLICATION, "global.anthropic.claude-haiku-5-5"],
            ["nova", "gpt5"],
        ),
        ("openai.gpt-oss-*", ["gpt-oss", "gpt-oss-20b", "openai.gpt-oss-7b-1:0"], ["gpt", "openai.gpt-6-sol"]),
    ],
)
def test_name_is_allowed_if_the_setting_has_it_or_matches_it(
    setting: str, permitted: list[str], refused: list[str]
) -> None:
    models = allowed(setting)
    assert [name for name in [*permitted, "nova-lite"] if name not in models] == []
    assert [name for name in refused if name in models] == []


def test_empty_setting_allows_the_default_model_and_its_fallbacks() -> None:
    models = allowed(default="claude-sonnet")
    assert list(models) == ["claude-haiku-5-5", "claude-sonnet"]
    assert "claude-haiku" in models
    assert "nova-lite" not in models


def test_list_has_the_names_of_the_setting_and_the_catalog_names_of_its_patterns() -> None:
    assert list(allowed("nova-pro", "vendor.new-1")) == ["nova-lite", "nova-pro", "vendor.new-1"]
    assert list(allowed("*nova*", default="nova-micro")) == ["nova-2-lite", "nova-lite", "nova-micro", "nova-pro"]


def test_list_has_no_model_that_the_region_cannot_call() -> None:
    assert list(allowed("claude-sonnet", "nova-pro", setting="none")) == ["nova-lite", "nova-pro"]
