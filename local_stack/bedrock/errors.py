"""Bedrock's errors. Their HTTP status is that of botocore's service model."""

from functools import cache

import botocore.session
from botocore.model import ServiceModel


class BedrockError(Exception):
    """An error response. `code` has the form of HTTP errors, such as `ThrottlingException`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        error = service().shape_for(self.code).metadata["error"]
        status: int = error["httpStatusCode"]
        return status


@cache
def service(name: str = "bedrock-runtime") -> ServiceModel:
    """Return botocore's model of a Bedrock API."""
    return botocore.session.get_session().get_service_model(name)


MESSAGES = {
    "ThrottlingException": "Too many requests, please wait before trying again.",
    "ServiceUnavailableException": "Bedrock is unable to process your request.",
    "ModelNotReadyException": "The model is not ready for inference. Wait and try your request again.",
    "AccessDeniedException": "You don't have access to the model with the specified model ID.",
    "ValidationException": "The model returned the following errors: Malformed input request, please try again.",
    "InternalServerException": "The system encountered an unexpected error during processing. Try your request again.",
    "ModelErrorException": "The model encountered an unexpected error while processing the request.",
    "ModelStreamErrorException": "The model encountered an unexpected error while streaming the response.",
}
STREAMING_REFUSED = "The model is unsupported for streaming."
TOOL_STREAMING_REFUSED = "This model doesn't support tool use in streaming mode."
SYSTEM_REFUSED = (
    "This model doesn't support system messages. "
    "Try again without a system message or use a model that supports system messages."
)


END_OF_LIFE = (  # gsd-build/gsd-2 issue 5425
    "This model version has reached the end of its life. Please refer to the AWS documentation for more details."
)
LEGACY = (  # fourTheorem/podwhisperer pull request 24, awslabs/llmeter issue 35
    "Access denied. This Model is marked by provider as Legacy and you have not been actively using the model in the "
    "last 30 days. Please upgrade to an active model on Amazon Bedrock"
)


def invalid(message: str) -> BedrockError:
    """Return a ValidationException."""
    return BedrockError("ValidationException", message)


def model_error(message: str) -> BedrockError:
    """Return an error of the model, as Bedrock reports it."""
    return invalid(f"The model returned the following errors: {message}")


def malformed(what: str) -> BedrockError:
    """Return the error of a model that checks its request with a JSON schema, such as Nova."""
    return model_error(f"Malformed input request: {what}, please reformat your input and try again.")


def end_of_life() -> BedrockError:
    return BedrockError("ResourceNotFoundException", END_OF_LIFE)


def legacy() -> BedrockError:
    """Return the error of a legacy model that the account has not used lately."""
    return BedrockError("ResourceNotFoundException", LEGACY)


def refusal(code: str) -> BedrockError:
    """Return the error with this code and Bedrock's usual message."""
    return BedrockError(code, MESSAGES[code])
