"""What AWS charges for an answer, by the emulator's own prices."""

from collections.abc import Mapping

from local_stack.bedrock.events import Json
from local_stack.bedrock.model_table import MODELS
from local_stack.bedrock.models import GLOBAL, ListedModel, find, split

_MILLION = 1_000_000


def bill(
    model_id: str,
    usage: Json,
    tier: str = "default",
    latency: str = "standard",
    models: Mapping[str, ListedModel] = MODELS,
) -> float | None:
    """Return the US dollars for a TokenUsage, or None if the price is not known.

    `tier` and `latency` are those that served the request. Cache writes without a lifetime in `cacheDetails` are those
    of five minutes.
    """
    price = find(model_id, models).price
    if price is None:
        return None
    factor = price.tiers.get(tier) if tier != "default" else 1.0
    speed = price.optimized if latency == "optimized" else 1.0
    if factor is None or speed is None:
        return None
    read, written = usage.get("cacheReadInputTokens", 0), usage.get("cacheWriteInputTokens", 0)
    hour = sum(each["inputTokens"] for each in usage.get("cacheDetails", []) if each["ttl"] == "1h")
    if price.threshold is not None and usage["inputTokens"] + read + written > price.threshold:
        factor *= price.factor
    if split(model_id)[0] not in {"", GLOBAL}:
        factor *= price.surcharge
    dollars: float = (
        usage["inputTokens"] * price.input
        + usage["outputTokens"] * price.output
        + read * price.read
        + (written - hour) * price.write_5m
        + hour * price.write_1h
    )
    return dollars * factor * speed / _MILLION
