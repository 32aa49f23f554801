"""The models that callers may name: aliases with their capabilities, from catalog.json."""

from collections.abc import Iterator
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

from chat.errors import BadRequest
from chat.events import Usage
from chat.limits import Budget
from chat.requests import Options


class Price(BaseModel):
    """US dollars for a million tokens, on demand (https://aws.amazon.com/bedrock/pricing/): yours may differ."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    input: float
    output: float
    cache_read: float
    cache_write: float

    def times(self, factor: float) -> Self:
        """The same, so many times as dear."""
        return self.model_copy(update={name: price * factor for name, price in self})


class Model(BaseModel):
    """What a model can do, as far as Bedrock's documentation says. docs/models.md describes the fields."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    id: str
    profiles: dict[str, float]  # it can be called by, `none` is the model itself; and how many times as dear it is then
    stream: bool  # false for a model that cannot, or is not to by policy
    tool_stream: bool  # streams when there are tools, too
    tools: bool
    any_tool_schema: bool  # takes every schema of type object; else see `model.options`
    system: bool
    cache: bool  # takes cache points in the system prompt and in messages
    vision: bool
    reasoning: bool
    answer_schema: Annotated[bool, Field(alias="schema")]  # answers in JSON of a schema; else a forced tool does that
    temperature_with_top_p: bool  # takes both in one request
    blank_stop: bool  # stops at white space alone, if it is asked to
    context_window: Annotated[int, Field(gt=0)]  # tokens
    max_output_tokens: Annotated[int, Field(gt=0)]
    price: Price
    service_tiers: dict[Literal["priority", "flex"], float]  # those it has, and how many times as dear they are
    optimized_latency: float | None = None  # how many times as dear that is, if it has it
    fallbacks: tuple[str, ...]

    def by(self, profile: str) -> Self:
        """The same at the price of this inference profile."""
        return self.model_copy(update={"price": self.price.times(self.profiles[profile])})

    def price_with(self, options: Options) -> Price:
        """What it costs when it is asked for so."""
        factor = self.service_tiers.get(options.service_tier, 1.0) if options.service_tier else 1.0
        return self.price.times(factor * (self.optimized_latency or 1.0 if options.latency else 1.0))

    def priced(self, usage: Usage, options: Options) -> Usage:
        """The same with what it cost."""
        price = self.price_with(options)
        millionths = (
            usage.input_tokens * price.input
            + usage.output_tokens * price.output
            + usage.cache_read_tokens * price.cache_read
            + usage.cache_write_tokens * price.cache_write
        )
        return replace(usage, cost=round(millionths * 1000))

    def affordable(self, budget: Budget, input_tokens: int, options: Options) -> float:
        """Output tokens that the budget allows after such an input; 0 or less allows no call."""
        price = self.price_with(options)
        by_tokens = budget.tokens - input_tokens if budget.tokens else inf
        by_cost = (budget.cost / 1000 - input_tokens * price.input) / price.output if budget.cost else inf
        return min(by_tokens, by_cost)


class Catalog:
    """Aliases to the models that can be called by `profile`, a geography of inference profiles, or none."""

    def __init__(self, profile: str) -> None:
        raw = Path(__file__).with_name("catalog.json").read_bytes()
        every = TypeAdapter(dict[str, Model]).validate_json(raw)
        self._models = {alias: model.by(profile) for alias, model in every.items() if profile in model.profiles}
        self._prefix = "" if profile == "none" else f"{profile}."

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __contains__(self, alias: str) -> bool:
        return alias in self._models

    def __getitem__(self, alias: str) -> Model:
        """Raises BadRequest for an alias that is not listed."""
        model = self._models.get(alias)
        if model is None:
            raise BadRequest(f"model must be one of {', '.join(sorted(self._models))}.", field="model")
        return model

    def model_id(self, model: Model) -> str:
        """What Bedrock calls it from this region."""
        return self._prefix + model.id
