"""The format of a model in catalog.json and in the parameter ModelOverrides. Imported only to check one of them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from converse_stream.model.capabilities import Input, Sampling
from converse_stream.model.identifiers import GEOGRAPHIES
from converse_stream.protocol.options import Effort

Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]  # for a million tokens
Factor = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Tokens = Annotated[int, Field(gt=0)]


class _Fields(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True, frozen=True)


class ThinkingFields(_Fields):
    """See `capabilities.Thinking`."""

    style: Literal["budget", "adaptive", "nova", "openai"]
    efforts: Annotated[list[Effort], Field(min_length=1)] | None = None
    default: Effort | None = None
    can_disable: bool | None = None


class CacheFields(_Fields):
    """See `capabilities.Cache`."""

    min_tokens: Tokens | None = None
    ttls: Annotated[list[Literal["5m", "1h"]], Field(min_length=1)] | None = None


class PriceFields(_Fields):
    """See `capabilities.Price`."""

    input: Dollars
    output: Factor
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None
    long_cache_write: Dollars | None = None
    above: Annotated[int, Field(ge=0)] | None = None


class Entry(_Fields):
    """The fields of a model, see `capabilities.Model`. `like` is the name of a model that has the other fields."""

    like: str | None = None
    title: Annotated[str, StringConstraints(min_length=1, max_length=60)] | None = None
    id: str | None = None
    profiles: dict[Literal["none", *GEOGRAPHIES], Factor] | None = None  # type: ignore[valid-type]
    inputs: list[Input] | None = None
    context_window: Tokens | None = None
    max_output_tokens: Tokens | None = None
    streaming: bool | None = None
    tool_streaming: bool | None = None
    system_prompt: bool | None = None
    tools: bool | None = None
    any_tool_schema: bool | None = None
    forced_tools: Literal["always", "without-thinking", "never"] | None = None
    structured_output: Literal["text-format", "forced-tool", "prompt"] | None = None
    prefill: bool | None = None
    thinking: ThinkingFields | None = None
    sampling: list[Sampling] | None = None
    sampling_exclusive: bool | None = None
    blank_stop: bool | None = None
    cache: CacheFields | None = None
    service_tiers: dict[Literal["priority", "flex"], Factor] | None = None
    optimized_latency: Factor | None = None
    price: list[PriceFields] | None = None
    lifecycle: Literal["active", "legacy"] | None = None
    fallbacks: list[str] | None = None


_ENTRIES = TypeAdapter(dict[str, Entry])


def parse(text: str | bytes) -> Mapping[str, Mapping[str, Any]]:
    """The fields by the name of a model. Raises ValueError, whose text names each wrong field and no value."""
    try:
        entries = _ENTRIES.validate_json(text)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        raise ValueError("; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in errors)) from None
    return {name: entry.model_dump(by_alias=True, exclude_unset=True) for name, entry in entries.items()}
