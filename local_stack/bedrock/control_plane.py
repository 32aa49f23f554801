"""ListFoundationModels, GetFoundationModel and ListInferenceProfiles, from the table of models.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock.html
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

from local_stack.bedrock import errors
from local_stack.bedrock.errors import BedrockError
from local_stack.bedrock.events import Json
from local_stack.bedrock.models import GLOBAL, SOURCES, Lifecycle, ListedModel, split

REGION = "us-east-1"  # of a request without a signature
ACCOUNT = "000000000000"
PAGE = 100  # profiles of a page without maxResults
MAX_PAGE = 1_000
_MODEL_PATH = re.compile(r"/foundation-models/(.+)")
_STARTED = "2025-12-01T00:00:00Z"
_NAME_LENGTH = 20  # of a model and of a provider, in botocore's model
_PROVIDERS = {
    "amazon": "Amazon",
    "anthropic": "Anthropic",
    "openai": "OpenAI",
    "xai": "xAI",
    "moonshotai": "Moonshot AI",
    "deepseek": "DeepSeek",
    "mistral": "Mistral AI",
    "qwen": "Qwen",
}
# Regions to which a profile of each geography may route a request. A few, because the emulator has one region.
_DESTINATIONS = {
    "us": ("us-east-1", "us-east-2", "us-west-2"),
    "us-gov": ("us-gov-east-1", "us-gov-west-1"),
    "ca": ("ca-central-1", "ca-west-1"),
    "eu": ("eu-central-1", "eu-north-1", "eu-west-1", "eu-west-3"),
    "apac": ("ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2"),
    "jp": ("ap-northeast-1", "ap-northeast-3"),
    "au": ("ap-southeast-2", "ap-southeast-4"),
}


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of the control plane. `model_id`: of GetFoundationModel."""

    name: str
    model_id: str | None = None


def operation_of(path: str) -> Operation | None:
    """Return the operation of a GET request, or None if it is not one of the control plane."""
    if path == "/foundation-models":
        return Operation("ListFoundationModels")
    if path == "/inference-profiles":
        return Operation("ListInferenceProfiles")
    match = _MODEL_PATH.fullmatch(path)
    return Operation("GetFoundationModel", unquote(match[1])) if match else None


def answer(operation: Operation, query: str, region: str, models: Mapping[str, ListedModel]) -> Json:
    """Return the body of the response for a caller in `region`. Raises BedrockError. `query` is percent-encoded."""
    given = {name: values[-1] for name, values in parse_qs(query).items()}
    listed = {name: model for name, model in models.items() if model.lifecycle.status != "END_OF_LIFE"}
    if operation.name == "ListInferenceProfiles":
        return _page(list(_profiles(listed, region, given.get("type", "SYSTEM_DEFINED"))), given)
    if operation.model_id is not None:
        name = operation.model_id.rpartition("/")[2]
        if name not in listed:
            raise BedrockError("ResourceNotFoundException", "Could not resolve the foundation model from the model id.")
        return {"modelDetails": _details(name, listed[name], region)}
    details = [_details(name, model, region) for name, model in listed.items()]
    return {"modelSummaries": [each for each in details if _matches(each, given)]}


def _details(name: str, model: ListedModel, region: str) -> Json:
    """Return FoundationModelDetails. Its modalities are only text, image and embedding."""
    vendor, _, rest = name.partition(".")
    modalities = ["TEXT", *(["IMAGE"] if "image" in model.inputs else [])]
    on_demand = model.in_region is None or region in model.in_region
    return {
        "modelArn": _model_arn(name, region),
        "modelId": name,
        "modelName": rest.split(":")[0].replace("-", " ").title()[:_NAME_LENGTH],
        "providerName": _PROVIDERS.get(vendor, vendor),
        "inputModalities": modalities,
        "outputModalities": ["TEXT"],
        "responseStreamingSupported": True,
        "customizationsSupported": [],
        # INFERENCE_PROFILE is not in botocore's model, but Bedrock sends it for a model that has only profiles.
        "inferenceTypesSupported": ["ON_DEMAND"] if on_demand else ["INFERENCE_PROFILE"],
        "modelLifecycle": _lifecycle(model.lifecycle),
    }


def _lifecycle(lifecycle: Lifecycle) -> Json:
    times = {
        "startOfLifeTime": lifecycle.started or _STARTED,
        "legacyTime": lifecycle.legacy,
        "endOfLifeTime": lifecycle.end,
    }
    return {"status": lifecycle.status} | {name: _time(value) for name, value in times.items() if value}


def _matches(details: Json, given: Mapping[str, str]) -> bool:
    return (
        given.get("byProvider", details["providerName"]).lower() == details["providerName"].lower()
        and given.get("byOutputModality", "TEXT") in details["outputModalities"]
        and given.get("byInferenceType", details["inferenceTypesSupported"][0]) in details["inferenceTypesSupported"]
        and "byCustomizationType" not in given
    )


def _profiles(models: Mapping[str, ListedModel], region: str, kind: str) -> Iterator[Json]:
    """Yield the profiles that `region` has. The emulator has none of applications."""
    if kind != "SYSTEM_DEFINED":
        return
    for name, model in models.items():
        for geography in sorted(model.profiles or ()):
            if geography != GLOBAL and not region.startswith(SOURCES[geography]):
                continue
            if geography == GLOBAL and region.startswith("us-gov-"):
                continue
            yield _profile(f"{geography}.{name}", region)


def _profile(profile_id: str, region: str) -> Json:
    geography, name = split(profile_id)
    destinations = [region, ""] if geography == GLOBAL else _DESTINATIONS[geography]
    return {
        "inferenceProfileName": re.sub(r"[^0-9A-Za-z]+", " ", profile_id).strip()[:64],
        "description": f"Routes requests to {re.sub(r'[^0-9A-Za-z]+', ' ', name).strip()}",
        "createdAt": _STARTED,
        "updatedAt": _STARTED,
        "inferenceProfileArn": f"arn:aws:bedrock:{region}:{ACCOUNT}:inference-profile/{profile_id}",
        "models": [{"modelArn": _model_arn(name, destination)} for destination in destinations],
        "inferenceProfileId": profile_id,
        "status": "ACTIVE",
        "type": "SYSTEM_DEFINED",
    }


def _page(profiles: list[Json], given: Mapping[str, str]) -> Json:
    """Return one page. The token is the number of the first profile of the next one."""
    try:
        start, size = int(given.get("nextToken", "0")), int(given.get("maxResults", PAGE))
    except ValueError:
        raise errors.invalid("The provided nextToken is invalid.") from None
    if not 1 <= size <= MAX_PAGE:
        raise errors.invalid(f"maxResults must be between 1 and {MAX_PAGE}.")
    end = start + size
    page: Json = {"inferenceProfileSummaries": profiles[start:end]}
    return page | ({"nextToken": str(end)} if end < len(profiles) else {})


def _model_arn(name: str, region: str) -> str:
    partition = "aws-us-gov" if region.startswith("us-gov-") else "aws"
    return f"arn:{partition}:bedrock:{region}::foundation-model/{name}"


def _time(value: str) -> str:
    """Return an ISO 8601 time. A date begins at midnight."""
    return value if "T" in value else f"{value}T00:00:00Z"
