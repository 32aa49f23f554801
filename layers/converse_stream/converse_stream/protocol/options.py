"""The options of a model call in requests."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, StringConstraints, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from converse_stream.protocol.fields import Body, Schema

Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")  # from the lowest
MAX_REASONING_TOKENS = 128_000
ReasoningTokens = Annotated[int, Field(ge=1, le=MAX_REASONING_TOKENS)]


class ReasoningEffort(Body):
    """The long form of an effort."""

    effort: Effort


def _reasoning(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    short_form = value["effort"] if isinstance(value, dict) and value.keys() == {"effort"} else value
    try:
        return validate(short_form)
    except ValidationError:  # its text has one line for each alternative
        limits = {"efforts": ", ".join(EFFORTS), "tokens": MAX_REASONING_TOKENS}
        raise PydanticCustomError("reasoning", "no effort and no number of tokens", limits) from None


class Options(Body):
    """How the model should answer. Options without a value have the default of the model."""

    max_tokens: int | None = Field(default=None, ge=1, le=200_000)
    temperature: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    top_p: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    stop: (
        Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=100)]], Field(max_length=4)] | None
    ) = None
    reasoning: Annotated[
        Effort | ReasoningTokens | None,
        WrapValidator(_reasoning, json_schema_input_type=Effort | ReasoningTokens | ReasoningEffort | None),
    ] = None  # an effort, or a number of tokens
    service_tier: Literal["priority", "flex"] | None = None
    latency: Literal["optimized"] | None = None
    answer_schema: Schema | None = Field(default=None, alias="schema")  # of the answer: its text is JSON
