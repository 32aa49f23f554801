"""What a model accepts, refuses and costs. docs/models.md describes the fields.

The defaults are those of an unknown model: no option that Bedrock could refuse, streaming and tools until they are
refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal, Self, TypeAlias

from converse_stream.limits import Budget
from converse_stream.protocol.events import Usage
from converse_stream.protocol.options import Effort, Options

Input: TypeAlias = Literal["text", "image", "document", "video"]
ESTIMATE_MARGIN = 4  # an estimate may be too low by a fourth
Sampling: TypeAlias = Literal["temperature", "topP"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking:
    """How a model thinks before it answers.

    `style` selects the fields of the request. `efforts` are accepted, from the lowest to the highest. `default` is the
    effort of a request that names none; None if the model does not think then. `can_disable` is false if the model
    refuses to answer without thinking.
    """

    style: Literal["budget", "adaptive", "nova", "openai"]
    efforts: tuple[Effort, ...] = ("low", "medium", "high")
    default: Effort | None = None
    can_disable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """The prompt cache. A prefix of fewer than `min_tokens` is not cached. `ttls` are the lifetimes of entries."""

    min_tokens: int = 1_024
    ttls: tuple[Literal["5m", "1h"], ...] = ("5m",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """On-demand prices in US dollars for a million tokens (https://aws.amazon.com/bedrock/pricing/).

    `above`: the price applies to requests with more input tokens than this, cached ones included, and to all of their
    tokens. A price of cached tokens that is not known counts as that of the input. `long_cache_write` is for entries
    with a lifetime of one hour.
    """

    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None
    long_cache_write: float | None = None
    above: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model with its capabilities.

    `id` is the id or ARN in requests to Bedrock. `base_id` is the same without the prefix of an inference profile.
    `name` is the name in the catalog; an id or ARN for a model that is not in it.
    """

    name: str
    id: str
    base_id: str
    title: str = ""
    profiles: Mapping[str, float] = field(default_factory=lambda: {"none": 1.0})  # price factors; see docs/models.md
    inputs: tuple[Input, ...] = ("text",)
    context_window: int = 128_000  # tokens
    max_output_tokens: int = 4_096
    streaming: bool = True
    tool_streaming: bool = True  # also with tools
    system_prompt: bool = True
    tools: bool = True
    any_tool_schema: bool = True  # of type object; else see `model.options`
    forced_tools: Literal["always", "without-thinking", "never"] = "always"
    structured_output: Literal["text-format", "forced-tool", "prompt"] = "prompt"
    prefill: bool = True  # continues a last message of the assistant
    thinking: Thinking | None = None
    sampling: tuple[Sampling, ...] = ("temperature", "topP")
    sampling_exclusive: bool = False  # accepts only one of them in a request
    blank_stop: bool = True  # accepts a stop sequence of white space only
    cache: Cache | None = None
    service_tiers: Mapping[str, float] = field(default_factory=dict)  # price factors of `priority` and `flex`
    optimized_latency: float | None = None  # its price factor; None if not supported
    price: tuple[Price, ...] = ()  # by `above`, ascending; empty if not known
    price_factor: float = 1.0  # of the inference profile
    lifecycle: Literal["active", "legacy"] = "active"
    fallbacks: tuple[str, ...] = ()

    def priced(self, usage: Usage, options: Options, *, long_cache_writes: int = 0) -> Usage:
        """The usage with its cost, None if the price is not known.

        `long_cache_writes` are those of the `cache_write_tokens` with a lifetime of one hour.
        """
        total_input = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        price = self._price(total_input)
        if price is None:
            return replace(usage, cost=None)
        write = _or(price.cache_write, price.input)
        millionths = (
            usage.input_tokens * price.input
            + usage.output_tokens * price.output
            + usage.cache_read_tokens * _or(price.cache_read, price.input)
            + (usage.cache_write_tokens - long_cache_writes) * write
            + long_cache_writes * _or(price.long_cache_write, write)
        )
        return replace(usage, cost=round(millionths * self._factor(options) * 1000))

    def affordable(self, budget: Budget, input_tokens: int, options: Options) -> float:
        """The output tokens that the budget allows after `input_tokens`; at 0 or less, no call is allowed.

        Without a price, only the budget of tokens counts. The number of input tokens is an estimate, and some may be
        written to the prompt cache: the price is the highest that is possible.
        """
        by_tokens = budget.tokens - input_tokens if budget.tokens else inf
        price = self._price(input_tokens + input_tokens // ESTIMATE_MARGIN)
        if not budget.cost or price is None:
            return by_tokens
        writes = (price.cache_write, price.long_cache_write if self.cache and "1h" in self.cache.ttls else None)
        input_price = max(price.input, *(each or 0 for each in writes))
        millionths = budget.cost / 1000 / self._factor(options) - input_tokens * input_price
        return min(by_tokens, millionths / price.output)

    def with_profile(self, profile: str) -> Self:
        """The model with the id and the price of this inference profile; `none` is a call without one."""
        profile_id = self.base_id if profile == "none" else f"{profile}.{self.base_id}"
        factor = self.profiles.get(profile, max(self.profiles.values()))  # an unlisted profile costs as the dearest one
        return replace(self, id=profile_id, price_factor=factor)

    def _price(self, input_tokens: int) -> Price | None:
        tiers = [price for price in self.price if input_tokens > price.above or price.above == 0]
        return tiers[-1] if tiers else None

    def _factor(self, options: Options) -> float:
        tier = self.service_tiers.get(options.service_tier, 1.0) if options.service_tier else 1.0
        return self.price_factor * tier * (self.optimized_latency or 1.0 if options.latency else 1.0)


def _or(price: float | None, otherwise: float) -> float:
    return otherwise if price is None else price
