"""The models that callers may name: aliases with their capabilities, from catalog.json."""

from collections.abc import Iterator
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

from chat.errors import BadRequest
from chat.events import Usage
from chat.limits import Budget


class Price(BaseModel):
    """US dollars for a million tokens, on demand (https://aws.amazon.com/bedrock/pricing/): yours may differ."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    input: float
    output: float
    cache_read: float
    cache_write: float


class Model(BaseModel):
    """What a model can do. `stream` is false for one that cannot, or is not to by policy."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    id: str
    profiles: tuple[str, ...]  # inference profiles it can be called by; none is the model itself
    stream: bool
    system: bool
    cache: bool  # takes cache points in the system prompt and in messages
    reasoning: bool
    temperature_with_top_p: bool  # takes both in one request
    max_output_tokens: Annotated[int, Field(gt=0)]
    price: Price
    fallbacks: tuple[str, ...]

    def priced(self, usage: Usage) -> Usage:
        """The same with what it cost."""
        price = self.price
        millionths = (
            usage.input_tokens * price.input
            + usage.output_tokens * price.output
            + usage.cache_read_tokens * price.cache_read
            + usage.cache_write_tokens * price.cache_write
        )
        return replace(usage, cost=round(millionths * 1000))

    def affordable(self, budget: Budget, input_tokens: int) -> float:
        """Output tokens that the budget allows after such an input; 0 or less allows no call."""
        by_tokens = budget.tokens - input_tokens if budget.tokens else inf
        by_cost = (budget.cost / 1000 - input_tokens * self.price.input) / self.price.output if budget.cost else inf
        return min(by_tokens, by_cost)


class Catalog:
    """Aliases to the models that can be called by `profile`, a geography of inference profiles, or none."""

    def __init__(self, profile: str) -> None:
        raw = Path(__file__).with_name("catalog.json").read_bytes()
        every = TypeAdapter(dict[str, Model]).validate_json(raw)
        self._models = {alias: model for alias, model in every.items() if profile in model.profiles}
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
