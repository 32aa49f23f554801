"""Bedrock's identifiers of models: model ids, ids of inference profiles, and ARNs. Pure.

https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html
"""

from collections.abc import Sequence

GEOGRAPHIES = ("us", "us-gov", "eu", "apac", "jp", "au", "ca", "global")  # prefixes of inference profiles

# The geographies of a region, by the prefix of its name, the narrowest first. The first match counts.
_BY_REGION: dict[str, tuple[str, ...]] = {
    "us-gov-": ("us-gov",),
    "us-": ("us",),
    "ca-": ("us",),
    "eu-": ("eu",),
    "ap-northeast-1": ("jp", "apac"),
    "ap-northeast-3": ("jp", "apac"),
    "ap-southeast-2": ("au", "apac"),
    "ap-southeast-4": ("au", "apac"),
    "ap-": ("apac",),
}


def profiles_of(setting: str, region: str) -> Sequence[str]:
    """The inference profiles to use, in order: the first one that a model has. `none` is a call without a profile.

    Only the setting `global` allows the global profile in a region with a geographic one: data stays in its geography.
    """
    own = next((names for prefix, names in _BY_REGION.items() if region.startswith(prefix)), ("global",))
    match setting:
        case "auto":
            return *own, "none"
        case "global":
            return "global", *own, "none"
        case "none":
            return ("none",)
    return setting, "none"


def split_profile(identifier: str) -> tuple[str, str]:
    """The prefix of an inference profile and the id of its model. The prefix is empty for a model id."""
    prefix, dot, model = identifier.partition(".")
    return (prefix, model) if dot and prefix in GEOGRAPHIES else ("", identifier)


def is_arn(name: str) -> bool:
    """Whether the name is an ARN, of any resource."""
    return name.startswith("arn:")


def model_of_arn(arn: str) -> str:
    """The id in the ARN of a foundation model or of an inference profile of AWS.

    Empty for other ARNs (application inference profiles, provisioned, custom and imported models), which do not contain
    the id of the model.
    """
    kind, _, identifier = arn.split(":", 5)[-1].partition("/")
    return identifier if kind in {"foundation-model", "inference-profile"} else ""
