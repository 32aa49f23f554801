"""What a model of Bedrock accepts and costs, and how a request finds its model.

The facts of each model are in `model_table.py`. A model that is not listed accepts everything: any id, any region, an
input and an output of any length.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

# Prefixes of the regions that may call the inference profiles of each geography.
SOURCES = {
    "us": ("us-east-", "us-west-", "ca-"),
    "us-gov": ("us-gov-",),
    "ca": ("ca-",),
    "eu": ("eu-",),
    "apac": ("ap-",),
    "jp": ("ap-northeast-1", "ap-northeast-3"),
    "au": ("ap-southeast-2", "ap-southeast-4"),
}
GLOBAL = "global"
_CLAUDE_VERSION = re.compile(r"anthropic\.claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?![\d])")
_NEWEST_LISTED = (5, 5)

Style = Literal["any", "none", "claude", "nova", "openai", "openai-open"]


@dataclass(frozen=True, slots=True)
class Thinking:
    """How a model reasons.

    `style`: the field of the request that controls it (see `thinking.py`). `types`: accepted values of
    `thinking.type`. `efforts`: accepted efforts. `effort`: the default one. `on`: the model reasons also if the request
    does not ask for it. `omits`: the text of the reasoning is empty unless the request sets `display`. `bound`: a block
    is accepted only behind the same system prompt, tools and messages.
    """

    style: Style = "any"
    types: frozenset[str] = frozenset()
    efforts: tuple[str, ...] = ()
    effort: str = "high"
    on: bool = False
    omits: bool = False
    bound: bool = False


@dataclass(frozen=True, slots=True)
class Cache:
    """Prompt caching. `least`: tokens of the shortest prefix that is cached. `ttls`: accepted lifetimes."""

    least: int = 1
    ttls: frozenset[str] = frozenset({"5m", "1h"})


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens: input, output, read from the cache, and written to it by lifetime.

    `surcharge`: factor of an inference profile of one geography. Above `threshold` input tokens, cached ones included,
    every token costs `factor` times as much. `tiers`: factors of the service tiers. `optimized`: factor of the
    optimized latency, or None if the model has none.
    """

    input: float
    output: float
    read: float
    write_5m: float
    write_1h: float
    surcharge: float = 1.0
    threshold: int | None = None
    factor: float = 1.0
    tiers: Mapping[str, float] = field(default_factory=dict)
    optimized: float | None = None


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The state of a model. Dates are ISO 8601. `closed`: a legacy model that the account has not used lately."""

    status: Literal["ACTIVE", "LEGACY", "END_OF_LIFE"] = "ACTIVE"
    started: str | None = None
    legacy: str | None = None
    end: str | None = None
    closed: bool = False


@dataclass(frozen=True, slots=True)
class ListedModel:
    """What a model accepts. The defaults are those of a model that is not listed.

    `window` and `output`: tokens of the context window and of the longest answer; None is no limit. `profiles`:
    geographies of its inference profiles, or `global`; None is any. `in_region`: regions that may call it by its id
    without a profile; None is any. `inputs`: kinds of content in user messages. `result_images`: also in tool results.
    `sampling`: whether temperature, topP and top_k are accepted, or only one of temperature and topP. `forced_tools`:
    whether `toolChoice` may force a call. `price` is None if it is not known.
    """

    window: int | None = None
    output: int | None = None
    profiles: frozenset[str] | None = None
    in_region: frozenset[str] | None = None
    inputs: frozenset[str] = frozenset({"text", "image", "document", "video", "audio"})
    result_images: bool = True
    thinking: Thinking = Thinking()
    sampling: Literal["accepted", "exclusive", "refused"] = "accepted"
    prefill: bool = True
    forced_tools: Literal["accepted", "without-thinking", "refused"] = "accepted"
    schema: bool = True
    tool_streaming: bool = True
    system: bool = True
    cache: Cache | None = Cache()
    price: Price | None = None
    lifecycle: Lifecycle = Lifecycle()


UNLISTED = ListedModel()
EFFORTS = ("low", "medium", "high", "xhigh", "max")
# What the newest Claude models refuse. A Claude with a newer version than the listed ones is treated like them.
NEWEST_CLAUDE = ListedModel(
    thinking=Thinking("claude", frozenset({"adaptive"}), EFFORTS, effort="medium", on=True, omits=True, bound=True),
    sampling="refused",
    prefill=False,
    forced_tools="refused",
    cache=Cache(512),
)


def find(model_id: str, models: Mapping[str, ListedModel]) -> ListedModel:
    """Return the facts about the model of an id or ARN."""
    name = split(model_id)[1]
    if name in models:
        return models[name]
    version = _CLAUDE_VERSION.match(name)
    if version and (int(version[1]), int(version[2] or 0)) > _NEWEST_LISTED:
        return NEWEST_CLAUDE
    return _of_family(name)


def split(model_id: str) -> tuple[str, str]:
    """Split an id or ARN into the geography of the inference profile (or "") and the model's id."""
    resource = model_id.rpartition("/")[2]
    profile, dot, name = resource.partition(".")
    return (profile, name) if dot and profile in {*SOURCES, GLOBAL} else ("", resource)


def is_claude(model_id: str) -> bool:
    return "anthropic" in split(model_id)[1]


# Families of which only these facts are reported: they do not call tools while they stream, they accept no system
# prompt, or they have reached the end of their life (gsd-build/gsd-2 issue 5425, awslabs/startups pull request 304).
_NO_TOOL_STREAMING = (
    "meta.llama3-",
    "meta.llama4-",
    "mistral.mistral-large-24",
    "mistral.mixtral-",
    "mistral.pixtral-large-",
    "deepseek.r1-",
)
_NO_SYSTEM = ("mistral.mistral-7b-", "mistral.mixtral-")
_END_OF_LIFE = ("meta.llama3-2-", "amazon.nova-premier-", "anthropic.claude-3-")


def _of_family(name: str) -> ListedModel:
    """Return the facts about a model that is not listed."""
    if name.startswith(_END_OF_LIFE):
        return replace(UNLISTED, lifecycle=Lifecycle("END_OF_LIFE"))
    return replace(
        UNLISTED,
        tool_streaming=not name.startswith(_NO_TOOL_STREAMING),
        system=not name.startswith(_NO_SYSTEM),
    )
