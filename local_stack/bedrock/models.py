"""What Bedrock knows of some models: their context windows, and where and by which ids they are called.

From the model cards and https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html as of
November 2026. A model that is not listed is called by any id, from any region, with an input of any length.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from local_stack.bedrock.errors import BedrockError

# The regions that may call a geography's inference profiles, by how their names begin.
_SOURCES = {
    "us": ("us-east-", "us-west-", "ca-"),
    "us-gov": ("us-gov-",),
    "ca": ("ca-",),
    "eu": ("eu-",),
    "apac": ("ap-",),
    "jp": ("ap-northeast-1", "ap-northeast-3"),
    "au": ("ap-southeast-2", "ap-southeast-4"),
}


@dataclass(frozen=True, slots=True)
class ListedModel:
    """`window` is in tokens; `profiles` are geographies, or `global`; `in_region` are regions that call the bare id."""

    window: int
    profiles: frozenset[str]
    in_region: frozenset[str] = frozenset()


_NOVA_PROFILES = frozenset({"us", "eu", "apac", "ca", "us-gov"})
_NOVA_REGIONS = frozenset({"us-east-1", "us-gov-west-1"})  # aws-samples/artifacts-and-tools-for-bedrock issue 14
_CLAUDE_PROFILES = frozenset({"us", "eu", "jp", "au", "us-gov", "global"})  # no region has them by the bare id

MODELS: Mapping[str, ListedModel] = {
    "amazon.nova-micro-v1:0": ListedModel(128_000, _NOVA_PROFILES, _NOVA_REGIONS),
    "amazon.nova-lite-v1:0": ListedModel(300_000, _NOVA_PROFILES, _NOVA_REGIONS),
    "amazon.nova-pro-v1:0": ListedModel(300_000, _NOVA_PROFILES, _NOVA_REGIONS),
    "anthropic.claude-haiku-4-5-20251001-v1:0": ListedModel(200_000, _CLAUDE_PROFILES),
    "anthropic.claude-sonnet-4-5-20250929-v1:0": ListedModel(200_000, _CLAUDE_PROFILES),
    "anthropic.claude-opus-4-5-20251101-v1:0": ListedModel(200_000, _CLAUDE_PROFILES),
}


def check_place(model_id: str, region: str | None) -> None:
    """Raises BedrockError for a listed model that this id does not reach from `region`; None is any region."""
    profile, name = _parts(model_id)
    model = MODELS.get(name)
    if model is None:
        return
    if not profile:
        if model.in_region and (region is None or region in model.in_region):
            return
        raise profile_needed(name)
    if profile not in model.profiles or not _reaches(profile, region):
        # langgenius/dify-official-plugins issue 2948: so it says for a profile that the region does not have.
        raise BedrockError("ValidationException", "The provided model identifier is invalid.")


def window_of(model_id: str) -> int | None:
    """The context window of a listed model, in tokens."""
    model = MODELS.get(_parts(model_id)[1])
    return model.window if model else None


def profile_needed(name: str) -> BedrockError:
    """In Bedrock's own words, typographic apostrophe included: cline/cline issue 689."""
    return BedrockError(
        "ValidationException",
        f"Invocation of model ID {name} with on-demand throughput isn’t supported. "  # noqa: RUF001  # its own
        "Retry your request with the ID or ARN of an inference profile that contains this model.",
    )


def too_long(model_id: str, tokens: int, window: int) -> BedrockError:
    """An input above the window.

    Claude's words are those of its API, which many clients look for; the others': continuedev/continue issue 6005,
    aws-samples/bedrock-chat issue 95.
    """
    told = "Input is too long for requested model."
    if "anthropic" in model_id:
        told = f"prompt is too long: {tokens} tokens > {window} maximum"
    return BedrockError("ValidationException", f"The model returned the following errors: {told}")


def _parts(model_id: str) -> tuple[str, str]:
    """An id's or ARN's inference profile, empty for none, and the model."""
    called = model_id.rpartition("/")[2]
    profile, dot, name = called.partition(".")
    return (profile, name) if dot and profile in {*_SOURCES, "global"} else ("", called)


def _reaches(profile: str, region: str | None) -> bool:
    if region is None:
        return True
    if profile == "global":
        return not region.startswith("us-gov-")  # all commercial regions
    return region.startswith(_SOURCES[profile])
