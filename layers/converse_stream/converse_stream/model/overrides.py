"""The format of a model in catalog.json and in the parameter ModelOverrides. Imported only to check one of them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from converse_stream.model.capabilities import Input, Sampling
from converse_stream.model.identifiers import GEOGRAPHIES
from converse_stream.protocol.options import Effort

Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]  # for a million tokens
Factor = Annotated[float, Field(gt=0, allow_inf_nan=False)]
ABSENT: Any = None  # the default of fields that may be absent, but not null
Tokens = Annotated[int, Field(gt=0)]


class _Fields(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True, frozen=True)


class ThinkingFields(_Fields):
    """See `capabilities.Thinking`."""

    style: Literal["budget", "adaptive", "nova", "openai"]
    efforts: Annotated[list[Effort], Field(min_length=1)] = Field(default=["low", "medium", "high"])
    default: Effort | None = None
    can_disable: bool = True

    @model_validator(mode="after")
    def _default_is_accepted(self) -> Self:
        if self.default is not None and self.default not in self.efforts:
            raise ValueError("default is not one of efforts")
        return self


class CacheFields(_Fields):
    """See `capabilities.Cache`."""

    min_tokens: Tokens = ABSENT
    ttls: Annotated[list[Literal["5m", "1h"]], Field(min_length=1)] = ABSENT


class PriceFields(_Fields):
    """See `capabilities.Price`."""

    input: Dollars
    output: Factor
    cache_read: Dollars = ABSENT
    cache_write: Dollars = ABSENT
    long_cache_write: Dollars = ABSENT
    above: Annotated[int, Field(ge=0)] = 0


def _tiers(prices: list[PriceFields]) -> list[PriceFields]:
    above = [price.above for price in prices]
    if above != sorted(set(above)) or above[:1] not in ([], [0]):
        raise ValueError("the first price is without above, the others follow with a rising one")
    return prices


class Override(_Fields):
    """The fields of a model that an operator may set, see `capabilities.Model`. Those that are absent stay as they are.

    `like` is the name of a model that has the other fields.
    """

    like: str = ABSENT
    title: Annotated[str, StringConstraints(min_length=1, max_length=60)] = ABSENT
    profiles: Annotated[dict[Literal["none", *GEOGRAPHIES], Factor], Field(min_length=1)] = ABSENT  # type: ignore[valid-type]
    inputs: list[Input] = ABSENT
    context_window: Tokens = ABSENT
    max_output_tokens: Tokens = ABSENT
    streaming: bool = ABSENT
    tool_streaming: bool = ABSENT
    system_prompt: bool = ABSENT
    tools: bool = ABSENT
    any_tool_schema: bool = ABSENT
    forced_tools: Literal["always", "without-thinking", "never"] = ABSENT
    structured_output: Literal["text-format", "forced-tool", "prompt"] = ABSENT
    prefill: bool = ABSENT
    thinking: ThinkingFields | None = None
    sampling: list[Sampling] = ABSENT
    sampling_exclusive: bool = ABSENT
    blank_stop: bool = ABSENT
    cache: CacheFields | None = None
    service_tiers: dict[Literal["priority", "flex"], Factor] = ABSENT
    optimized_latency: Factor | None = None
    price: Annotated[list[PriceFields], AfterValidator(_tiers)] = ABSENT
    lifecycle: Literal["active", "legacy"] = ABSENT
    fallbacks: list[str] = ABSENT


class Entry(Override):
    """A model of catalog.json."""

    id: str


_OVERRIDES = TypeAdapter(dict[str, Override])


def parse(text: str | bytes) -> Mapping[str, Mapping[str, Any]]:
    """The fields by the name of a model. Raises ValueError, whose text names each wrong field and no value."""
    try:
        overrides = _OVERRIDES.validate_json(text)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        raise ValueError("; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in errors)) from None
    return {name: override.model_dump(by_alias=True, exclude_unset=True) for name, override in overrides.items()}
