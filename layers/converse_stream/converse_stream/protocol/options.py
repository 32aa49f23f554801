"""The options of a model call in requests."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from converse_stream.protocol.fields import Body, Schema


class Options(Body):
    """How the model should answer. Options without a value have the default of the model."""

    max_tokens: int | None = Field(default=None, ge=1, le=200_000)
    temperature: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    top_p: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    stop: (
        Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=100)]], Field(max_length=4)] | None
    ) = None
    reasoning: Literal["low", "medium", "high"] | None = None
    service_tier: Literal["priority", "flex"] | None = None
    latency: Literal["optimized"] | None = None
    answer_schema: Schema | None = Field(default=None, alias="schema")  # of the answer: its text is JSON
