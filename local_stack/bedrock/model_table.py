"""The models that the emulator knows, as of November 2026.

From the model cards (https://docs.aws.amazon.com/bedrock/latest/userguide/model-cards.html), the pages of inference
profiles, prices and lifecycles, and what users have measured. The application has a catalog of its own, which is not
read here: a mistake in it would otherwise go unnoticed.
"""

from collections.abc import Mapping
from dataclasses import replace

from local_stack.bedrock.models import EFFORTS, Cache, Lifecycle, ListedModel, Price, Thinking

_MILLION = 1_000_000
_THOUSAND = 1_000

_TEXT = frozenset({"text"})
_TEXT_IMAGE = frozenset({"text", "image"})
_DOCUMENTS = frozenset({"text", "image", "document"})
_VIDEO = frozenset({"text", "image", "document", "video"})

# Profiles: anomalyco/models.dev pull request 6597 (Nova, from ListInferenceProfiles), the model cards (Claude), and
# aws-samples/artifacts-and-tools-for-bedrock issue 14 (regions of Nova).
_NOVA_PROFILES = frozenset({"us", "eu", "apac", "ca", "us-gov"})
_NOVA_REGIONS = frozenset({"us-east-1", "us-gov-west-1"})
_CLAUDE_PROFILES = frozenset({"us", "eu", "jp", "au", "us-gov", "global"})
# Not in GovCloud, and Opus 5 not in Japan: guidance-for-claude-code-with-amazon-bedrock pull request 809.
_CLAUDE_5_PROFILES = _CLAUDE_PROFILES - {"us-gov"}
_NO_REGION: frozenset[str] = frozenset()  # not available without a profile

_GEOGRAPHIC = 1.1  # Claude 4.5 and later cost 10 % more through a profile of one geography


def _claude_price(input_price: float, output_price: float, read: float | None = None) -> Price:
    """Return a price with Claude's usual factors: 1.25 and 2 for a write, 0.1 for a read unless `read` is given.

    The prices of Fable 5.1 for the cache are not published: they are derived like this.
    """
    return Price(
        input_price,
        output_price,
        round(input_price / 10, 4) if read is None else read,
        input_price * 1.25,
        input_price * 2,
        _GEOGRAPHIC,
    )


def _nova_price(input_price: float, output_price: float) -> Price:
    """Return a price with Nova's factors. A write costs as much as input (models.dev pull request 6793)."""
    return Price(input_price, output_price, input_price / 4, input_price, input_price)


# Thinking of Claude. Efforts: SkillfulAgents/SuperAgent pull request 1142, coder/coder issue 25356 (Opus 4.5),
# anthropics/claude-code issue 30760 (Haiku 4.5). Since Opus 4.7 the text is omitted: QwenLM/qwen-code issue 8039.
_BUDGET = Thinking("claude", frozenset({"enabled", "disabled"}))
_BOTH = Thinking("claude", frozenset({"enabled", "adaptive", "disabled"}), ("low", "medium", "high", "max"))
_ADAPTIVE = Thinking("claude", frozenset({"adaptive", "disabled"}), EFFORTS, omits=True)
_DEFAULT_ON = replace(_ADAPTIVE, on=True)  # since Claude 5: promptfoo/promptfoo pull request 10631
_ALWAYS_ON = replace(_DEFAULT_ON, types=frozenset({"adaptive"}), bound=True)

_CLAUDE_4_5 = ListedModel(
    window=200 * _THOUSAND,
    output=64 * _THOUSAND,
    profiles=_CLAUDE_PROFILES,
    in_region=_NO_REGION,
    inputs=_DOCUMENTS,
    thinking=_BUDGET,
    sampling="exclusive",
    forced_tools="without-thinking",
    cache=Cache(4_096),
)
# A prefill is refused since 4.6: anomalyco/opencode issue 29760.
_CLAUDE_4_6 = replace(_CLAUDE_4_5, window=_MILLION, output=128 * _THOUSAND, thinking=_BOTH, prefill=False)
# Forced tools with thinking since 4.8: langchain-ai/langchain-aws pull request 1141.
_CLAUDE_4_7 = replace(_CLAUDE_4_6, thinking=_ADAPTIVE, sampling="refused", cache=Cache(2_048))
_CLAUDE_4_8 = replace(_CLAUDE_4_7, forced_tools="accepted", cache=Cache(1_024))
_CLAUDE_5 = replace(_CLAUDE_4_8, profiles=_CLAUDE_5_PROFILES, thinking=_DEFAULT_ON)
_CLAUDE_5_5 = replace(_CLAUDE_5, thinking=_ALWAYS_ON, forced_tools="refused", cache=Cache(512))

_NOVA = ListedModel(
    window=300 * _THOUSAND,
    output=5 * _THOUSAND,
    profiles=_NOVA_PROFILES,
    in_region=_NOVA_REGIONS,
    inputs=_VIDEO,
    thinking=Thinking("none"),
    schema=False,
    cache=Cache(1_024, frozenset({"5m"})),
)
_GPT = ListedModel(
    window=1_050_000,
    output=128 * _THOUSAND,
    profiles=frozenset({"us", "eu", "apac", "global"}),
    in_region=_NO_REGION,
    inputs=_DOCUMENTS,
    result_images=False,  # earendil-works/pi issue 8643
    # `none` is accepted by Luna alone: stdapi-ai/stdapi.ai issue 283, anomalyco/opencode pull request 48195.
    thinking=Thinking("openai", efforts=EFFORTS, effort="medium", on=True),
    cache=None,
)
_GPT_OSS = replace(
    _GPT,
    window=128 * _THOUSAND,
    output=16 * _THOUSAND,
    profiles=frozenset(),
    in_region=None,
    inputs=_TEXT,
    thinking=Thinking("openai-open", efforts=("none", "low", "medium", "high"), effort="medium", on=True),
)
# Of these only what is reported: no thinking fields, and no cache points (zeroclaw-labs/zeroclaw pull request 7315).
_OTHER = ListedModel(inputs=_TEXT_IMAGE, thinking=Thinking("none"), schema=False, cache=None)

MODELS: Mapping[str, ListedModel] = {
    "amazon.nova-micro-v1:0": replace(_NOVA, window=128 * _THOUSAND, inputs=_TEXT, price=_nova_price(0.035, 0.14)),
    "amazon.nova-lite-v1:0": replace(_NOVA, price=_nova_price(0.06, 0.24)),
    "amazon.nova-pro-v1:0": replace(
        _NOVA,
        price=replace(_nova_price(0.8, 3.2), tiers={"priority": 1.75, "flex": 0.5}, optimized=1.25),
    ),
    "amazon.nova-2-lite-v1:0": replace(
        _NOVA,
        window=_MILLION,
        output=64 * _THOUSAND,
        profiles=frozenset({"us", "eu", "jp", "global"}),
        in_region=_NO_REGION,
        thinking=Thinking("nova", frozenset({"enabled", "disabled"}), ("low", "medium", "high")),
        price=_nova_price(0.33, 2.75),
    ),
    # awslabs/startups pull request 304
    "anthropic.claude-sonnet-4-20250514-v1:0": replace(
        _CLAUDE_4_5, lifecycle=Lifecycle("END_OF_LIFE", legacy="2026-04-14", end="2026-10-14")
    ),
    "anthropic.claude-opus-4-1-20250805-v1:0": replace(
        _CLAUDE_4_5,
        output=32 * _THOUSAND,
        cache=Cache(1_024, frozenset({"5m"})),
        price=replace(_claude_price(15, 75), surcharge=1.0),
        lifecycle=Lifecycle("LEGACY", end="2027-01-08"),
    ),
    "anthropic.claude-haiku-4-5-20251001-v1:0": replace(_CLAUDE_4_5, price=_claude_price(1, 5)),
    "anthropic.claude-sonnet-4-5-20250929-v1:0": replace(_CLAUDE_4_5, cache=Cache(1_024), price=_claude_price(3, 15)),
    "anthropic.claude-opus-4-5-20251101-v1:0": replace(
        _CLAUDE_4_5, thinking=replace(_BUDGET, efforts=("low", "medium", "high")), price=_claude_price(5, 25)
    ),
    "anthropic.claude-sonnet-4-6": replace(
        _CLAUDE_4_6, output=64 * _THOUSAND, cache=Cache(1_024), price=_claude_price(3, 15)
    ),
    "anthropic.claude-opus-4-6-v1": replace(_CLAUDE_4_6, price=_claude_price(5, 25)),
    "anthropic.claude-opus-4-7": replace(_CLAUDE_4_7, price=_claude_price(5, 25)),
    "anthropic.claude-opus-4-8": replace(_CLAUDE_4_8, price=_claude_price(5, 25)),
    "anthropic.claude-opus-5": replace(
        _CLAUDE_5, profiles=_CLAUDE_5_PROFILES - {"jp"}, cache=Cache(512), price=_claude_price(5, 25)
    ),
    "anthropic.claude-sonnet-5": replace(_CLAUDE_5, price=_claude_price(2, 10)),
    "anthropic.claude-fable-5-1": replace(_CLAUDE_5_5, price=_claude_price(10, 50)),
    "anthropic.claude-opus-5-5": replace(
        _CLAUDE_5_5, thinking=replace(_ALWAYS_ON, effort="medium"), price=_claude_price(4, 20, 0.2)
    ),
    "anthropic.claude-sonnet-5-5": replace(_CLAUDE_5_5, price=_claude_price(2, 10, 0.1)),
    "anthropic.claude-haiku-5-5": replace(
        _CLAUDE_5_5,
        thinking=replace(_DEFAULT_ON, effort="medium", bound=True),
        forced_tools="accepted",
        price=replace(_claude_price(0.1, 0.5), threshold=100_000, factor=5.0),
    ),
    "openai.gpt-6-luna": replace(
        _GPT, thinking=Thinking("openai", efforts=("none", *EFFORTS), effort="medium", on=True)
    ),
    "openai.gpt-6-sol": _GPT,
    "openai.gpt-6-astra": _GPT,
    "openai.gpt-6.1-sol": _GPT,
    "openai.gpt-oss-120b-1:0": _GPT_OSS,
    "openai.gpt-oss-20b-1:0": _GPT_OSS,
    "xai.grok-4.7": _OTHER,
    "moonshotai.kimi-k3": _OTHER,
    "deepseek.v3.2": replace(_OTHER, inputs=_TEXT),
    "mistral.mistral-large-3-675b-instruct": _OTHER,
    "qwen.qwen3-vl-235b-a22b": _OTHER,
}
