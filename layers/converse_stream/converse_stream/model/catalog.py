"""The model catalog: aliases of models with their capabilities and prices, from catalog.json."""

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
    """On-demand prices in US dollars for a million tokens (https://aws.amazon.com/bedrock/pricing/)."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    input: float
    output: float
    cache_read: float
    cache_write: float

    def scaled(self, factor: float) -> Self:
        """The prices, multiplied by `factor`."""
        return self.model_copy(update={name: price * factor for name, price in self})


class Model(BaseModel):
    """A model and its capabilities, by Bedrock's documentation. docs/models.md describes the fields."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    id: str  # in a `Catalog` with the prefix of its inference profile
    profiles: dict[str, float]  # the price factor of each inference profile; `none` is a call without one
    stream: bool
    tool_stream: bool  # streams also with tools
    tools: bool
    any_tool_schema: bool  # accepts each schema of type object; else see `model.options`
    system: bool
    cache: bool  # accepts cache points in the system prompt and in messages
    vision: bool
    reasoning: bool
    answer_schema: Annotated[bool, Field(alias="schema")]  # supports schemas; else a forced tool call is used
    temperature_with_top_p: bool  # accepts both in one request
    blank_stop: bool  # accepts a stop sequence of white space only
    context_window: Annotated[int, Field(gt=0)]  # tokens
    max_output_tokens: Annotated[int, Field(gt=0)]
    price: Price
    service_tiers: dict[Literal["priority", "flex"], float]  # the price factor of each supported tier
    optimized_latency: float | None = None  # its price factor; None if not supported
    fallbacks: tuple[str, ...]

    def with_profile(self, profile: str) -> Self:
        """The model with the id and the price of this inference profile."""
        profile_id = self.id if profile == "none" else f"{profile}.{self.id}"
        return self.model_copy(update={"id": profile_id, "price": self.price.scaled(self.profiles[profile])})

    def price_with(self, options: Options) -> Price:
        """The price with the service tier and the latency of `options`."""
        factor = self.service_tiers.get(options.service_tier, 1.0) if options.service_tier else 1.0
        return self.price.scaled(factor * (self.optimized_latency or 1.0 if options.latency else 1.0))

    def priced(self, usage: Usage, options: Options) -> Usage:
        """The usage with its cost."""
        price = self.price_with(options)
        millionths = (
            usage.input_tokens * price.input
            + usage.output_tokens * price.output
            + usage.cache_read_tokens * price.cache_read
            + usage.cache_write_tokens * price.cache_write
        )
        return replace(usage, cost=round(millionths * 1000))

    def affordable(self, budget: Budget, input_tokens: int, options: Options) -> float:
        """The output tokens that the budget allows after `input_tokens`; at 0 or less, no call is allowed."""
        price = self.price_with(options)
        by_tokens = budget.tokens - input_tokens if budget.tokens else inf
        by_cost = (budget.cost / 1000 - input_tokens * price.input) / price.output if budget.cost else inf
        return min(by_tokens, by_cost)


# The geographic inference profile of a region, by the prefix of its name. The first match counts.
_GEOGRAPHIES = {"us-gov-": "us-gov", "us-": "us", "ca-": "us", "eu-": "eu", "ap-": "apac"}


def profiles_of(setting: str, region: str) -> tuple[str, ...]:
    """The inference profiles to use, in order: the first one that a model has. `none` is a call without a profile.

    Only the setting `global` allows the global profile in a region with a geographic one: data stays in its geography.
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
    """The models, by alias, that can be called from `region` with this setting of InferenceProfile."""

    def __init__(self, setting: str, region: str = "") -> None:
        raw = Path(__file__).with_name("catalog.json").read_bytes()
        self._all = TypeAdapter(dict[str, Model]).validate_json(raw)
        self._models: dict[str, Model] = {}
        for alias, model in self._all.items():
            profile = next((each for each in profiles_of(setting, region) if each in model.profiles), None)
            if profile is not None:
                self._models[alias] = model.with_profile(profile)

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
        """All aliases of catalog.json, with those that cannot be called from this region."""
        return self._all.keys()

    def unavailable_reason(self, alias: str) -> str | None:
        """Why a model of the catalog cannot be called from this region, and what to do.

        None if it can be called, or is not in the catalog.
        """
        if alias in self._models or alias not in self._all:
            return None
        reason = f"{alias} cannot be called from this region: it has no inference profile that this deployment may use."
        has_global = "global" in self._all[alias].profiles
        return f"{reason} Deploy with InferenceProfile=global to use it." if has_global else reason
