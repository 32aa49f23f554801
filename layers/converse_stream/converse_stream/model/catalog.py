"""The models that callers may name: aliases with their capabilities, from catalog.json."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

from converse_stream.limits import Budget
from converse_stream.protocol.errors import BadRequest
from converse_stream.protocol.events import Usage
from converse_stream.protocol.options import Options


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

    id: str  # in a `Catalog` with the inference profile that it is called by
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
        """The same with the id and the price of this inference profile."""
        called = self.id if profile == "none" else f"{profile}.{self.id}"
        return self.model_copy(update={"id": called, "price": self.price.times(self.profiles[profile])})

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


# The geographic inference profile of a region, by how the region's name begins; the first that fits.
_GEOGRAPHIES = {"us-gov-": "us-gov", "us-": "us", "ca-": "us", "eu-": "eu", "ap-": "apac"}


def profiles_of(setting: str, region: str) -> tuple[str, ...]:
    """The inference profiles to call a model by: the first of them that the model has. `none` is the model itself.

    No setting but `global` leads to a wider profile than it names: data stays in its geography.
    """
    own = next((profile for prefix, profile in _GEOGRAPHIES.items() if region.startswith(prefix)), "global")
    match setting:
        case "auto":
            return own, "none"
        case "global":
            return "global", own, "none"
        case "none":
            return ("none",)
    return setting, "none"


class Catalog:
    """Aliases to the models that can be called from `region` with a setting of InferenceProfile."""

    def __init__(self, setting: str, region: str = "") -> None:
        raw = Path(__file__).with_name("catalog.json").read_bytes()
        self._every = TypeAdapter(dict[str, Model]).validate_json(raw)
        self._models: dict[str, Model] = {}
        for alias, model in self._every.items():
            profile = next((each for each in profiles_of(setting, region) if each in model.profiles), None)
            if profile is not None:
                self._models[alias] = model.by(profile)

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __contains__(self, alias: str) -> bool:
        return alias in self._models

    def __getitem__(self, alias: str) -> Model:
        """Raises BadRequest for an alias that is not listed."""
        model = self._models.get(alias)
        if model is None:
            names = f"model must be one of {', '.join(sorted(self._models))}."
            raise BadRequest(self.unavailable_reason(alias) or names, field="model")
        return model

    @property
    def all_aliases(self) -> Collection[str]:
        """Every alias of catalog.json, whether or not it can be called from here."""
        return self._every.keys()

    def unavailable_reason(self, alias: str) -> str | None:
        """Why a listed model cannot be called from here, and what to do; None for one that can, or is not listed."""
        if alias in self._models or alias not in self._every:
            return None
        why = f"{alias} cannot be called from this region: it has no inference profile that this deployment may use."
        can = "global" in self._every[alias].profiles
        return f"{why} Deploy with InferenceProfile=global to use it." if can else why
