"""Context windows, regions and inference profiles of some models.

From the model cards and https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html as of
November 2026. A model that is not listed may be called by any id, from any region, with an input of any length.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from local_stack.bedrock.errors import BedrockError

# Prefixes of the regions that may call the inference profiles of each geography.
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
    """A listed model.

    `window`: context window in tokens. `profiles`: geographies of its inference profiles, or `global`. `in_region`:
    regions that may call it by its id without a profile.
    """

    window: int
    profiles: frozenset[str]
    in_region: frozenset[str] = frozenset()


_NOVA_PROFILES = frozenset({"us", "eu", "apac", "ca", "us-gov"})
_NOVA_REGIONS = frozenset({"us-east-1", "us-gov-west-1"})  # aws-samples/artifacts-and-tools-for-bedrock issue 14
_CLAUDE_PROFILES = frozenset({"us", "eu", "jp", "au", "us-gov", "global"})  # not available without a profile

MODELS: Mapping[str, ListedModel] = {
    "amazon.nova-micro-v1:0": ListedModel(128_000, _NOVA_PROFILES, _NOVA_REGIONS),
    "amazon.nova-lite-v1:0": ListedModel(300_000, _NOVA_PROFILES, _NOVA_REGIONS),
    "amazon.nova-pro-v1:0": ListedModel(300_000, _NOVA_PROFILES, _NOVA_REGIONS),
    "anthropic.claude-haiku-4-5-20251001-v1:0": ListedModel(200_000, _CLAUDE_PROFILES),
    "anthropic.claude-sonnet-4-5-20250929-v1:0": ListedModel(200_000, _CLAUDE_PROFILES),
    "anthropic.claude-opus-4-5-20251101-v1:0": ListedModel(200_000, _CLAUDE_PROFILES),
}


def check_place(model_id: str, region: str | None) -> None:
    """Raises BedrockError if a listed model cannot be called by this id from `region`. None is any region."""
    profile, name = _parts(model_id)
    model = MODELS.get(name)
    if model is None:
        return
    if not profile:
        if model.in_region and (region is None or region in model.in_region):
            return
        raise profile_needed(name)
    if profile not in model.profiles or not _reaches(profile, region):
        # The message for a profile that the region does not have: langgenius/dify-official-plugins issue 2948.
        raise BedrockError("ValidationException", "The provided model identifier is invalid.")


def window_of(model_id: str) -> int | None:
    """Return the context window of a model in tokens, or None if the model is not listed."""
    model = MODELS.get(_parts(model_id)[1])
    return model.window if model else None


def profile_needed(name: str) -> BedrockError:
    """Return the error for a model without an inference profile, as in cline/cline issue 689.

    The apostrophe is Bedrock's.
    """
    return BedrockError(
        "ValidationException",
        f"Invocation of model ID {name} with on-demand throughput isn’t supported. "  # noqa: RUF001  # Bedrock's text
        "Retry your request with the ID or ARN of an inference profile that contains this model.",
    )


def too_long(model_id: str, tokens: int, window: int) -> BedrockError:
    """Return the error for an input above the context window. `tokens` and `window` are in tokens.

    The message of Claude is that of its API; many clients search for it. The message of the other models:
    continuedev/continue issue 6005, aws-samples/bedrock-chat issue 95.
    """
    reason = "Input is too long for requested model."
    if "anthropic" in model_id:
        reason = f"prompt is too long: {tokens} tokens > {window} maximum"
    return BedrockError("ValidationException", f"The model returned the following errors: {reason}")


def _parts(model_id: str) -> tuple[str, str]:
    """Split an id or ARN into the geography of the inference profile (or "") and the model's id."""
    resource = model_id.rpartition("/")[2]
    profile, dot, name = resource.partition(".")
    return (profile, name) if dot and profile in {*_SOURCES, "global"} else ("", resource)


def _reaches(profile: str, region: str | None) -> bool:
    if region is None:
        return True
    if profile == "global":
        return not region.startswith("us-gov-")  # all commercial regions
    return region.startswith(_SOURCES[profile])
