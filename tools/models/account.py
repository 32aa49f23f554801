"""Reads what Bedrock lists for an account in a region, with the credentials of the caller."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError

from tools.models.comparison import Listed, ListedModel

RIGHTS = "bedrock:ListFoundationModels, bedrock:GetFoundationModel and bedrock:ListInferenceProfiles"
_DENIED = {"AccessDeniedException", "UnauthorizedOperation"}
_CREDENTIALS = {"ExpiredTokenException", "InvalidSignatureException", "UnrecognizedClientException"}


class AccountError(Exception):
    """Bedrock could not be asked. The message says what to do."""


def listed(region: str) -> Listed:
    """The models and profiles in this region. Raises AccountError."""
    try:
        client: Any = boto3.Session(region_name=region).client("bedrock", config=Config(read_timeout=20))
        # Provisioned variants of a model have ids of their own and cannot be called on demand.
        summaries = client.list_foundation_models(byOutputModality="TEXT")["modelSummaries"]
        models = [_model(_with_times(each, client)) for each in summaries if _is_callable(each)]
        pages = client.get_paginator("list_inference_profiles").paginate(typeEquals="SYSTEM_DEFINED")
        profiles = [each["inferenceProfileId"] for page in pages for each in page["inferenceProfileSummaries"]]
    except NoCredentialsError:
        raise AccountError("There are no AWS credentials. Set AWS_PROFILE, or run `aws sso login`.") from None
    except EndpointConnectionError:
        raise AccountError(f"Bedrock cannot be reached in {region}. Is it a region of Bedrock?") from None
    except ClientError as error:
        raise AccountError(_reason(error.response["Error"]["Code"])) from None
    except BotoCoreError as error:
        raise AccountError(f"Bedrock cannot be asked: {error}") from None
    return Listed(region, {model.id: model for model in models}, frozenset(profiles))


def _reason(code: str) -> str:
    if code in _DENIED:
        return f"These credentials lack rights ({code}). The command needs {RIGHTS}."
    if code in _CREDENTIALS:
        return f"Bedrock refuses the credentials ({code}). They may have expired."
    return f"Bedrock refuses the request: {code}."


def _is_callable(summary: Mapping[str, Any]) -> bool:
    return bool({"ON_DEMAND", "INFERENCE_PROFILE"} & set(summary.get("inferenceTypesSupported", [])))


def _with_times(summary: Mapping[str, Any], client: Any) -> Mapping[str, Any]:
    """The summary; of a legacy model without an end of life, the details."""
    lifecycle = summary.get("modelLifecycle", {})
    if lifecycle.get("status") != "LEGACY" or "endOfLifeTime" in lifecycle:
        return summary
    details: Mapping[str, Any] = client.get_foundation_model(modelIdentifier=summary["modelId"])["modelDetails"]
    return details


def _model(summary: Mapping[str, Any]) -> ListedModel:
    lifecycle = summary.get("modelLifecycle", {})
    return ListedModel(
        id=summary["modelId"],
        inputs=frozenset(each.lower() for each in summary.get("inputModalities", [])),
        streaming=summary.get("responseStreamingSupported", False),
        on_demand="ON_DEMAND" in summary["inferenceTypesSupported"],
        legacy=lifecycle.get("status") == "LEGACY",
        legacy_since=_date(lifecycle.get("legacyTime")),
        end=_date(lifecycle.get("endOfLifeTime")),
    )


def _date(time: datetime | None) -> date | None:
    return time.date() if time else None
