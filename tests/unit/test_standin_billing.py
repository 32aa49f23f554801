"""The bill of the stand-in, and the usage that it is made from."""

from typing import Any

import pytest

from local_stack.bedrock.billing import bill
from local_stack.bedrock.usage import Meter

HAIKU = "anthropic.claude-haiku-5-5"
OPUS = "anthropic.claude-opus-5-5"
MILLION = 1_000_000


def usage(
    input_tokens: int = 0, output: int = 0, read: int = 0, written: int = 0, hour: int | None = None
) -> dict[str, Any]:
    counted: dict[str, Any] = {
        "inputTokens": input_tokens,
        "outputTokens": output,
        "totalTokens": input_tokens + output + read + written,
        "cacheReadInputTokens": read,
        "cacheWriteInputTokens": written,
    }
    if hour is not None:
        counted["cacheDetails"] = [{"ttl": "1h", "inputTokens": hour}, {"ttl": "5m", "inputTokens": written - hour}]
    return counted


@pytest.mark.parametrize(
    ("model", "counted", "dollars"),
    [
        (f"global.{OPUS}", usage(MILLION), 4),
        (f"global.{OPUS}", usage(output=MILLION), 20),
        (f"global.{OPUS}", usage(read=MILLION), 0.2),
        (f"global.{OPUS}", usage(written=MILLION), 5),
        (f"global.{OPUS}", usage(written=MILLION, hour=MILLION), 8),
        (f"global.{OPUS}", usage(written=MILLION, hour=400_000), 0.6 * 5 + 0.4 * 8),
        (f"us.{OPUS}", usage(MILLION, MILLION, MILLION, MILLION), 1.1 * (4 + 20 + 0.2 + 5)),
        (f"global.{HAIKU}", usage(100_000, 1_000), 0.0105),
        (f"global.{HAIKU}", usage(100_001, 1_000), 5 * (100_001 * 0.1 + 1_000 * 0.5) / MILLION),
        (f"global.{HAIKU}", usage(1, 1_000, 50_000, 50_000), 5 * (0.1 + 500 + 500 + 6_250) / MILLION),
        (f"global.{HAIKU}", usage(0, 1_000, 50_000, 50_000), (500 + 500 + 6_250) / MILLION),
        (f"eu.{HAIKU}", usage(200_000), 5 * 1.1 * 0.02),
        ("amazon.nova-micro-v1:0", usage(MILLION, MILLION), 0.175),
        ("us.amazon.nova-micro-v1:0", usage(MILLION, MILLION), 0.175),
        ("us.amazon.nova-2-lite-v1:0", usage(MILLION, MILLION), 3.08),
        ("us.amazon.nova-lite-v1:0", usage(written=MILLION), 0.06),
        ("openai.gpt-oss-20b-1:0", usage(MILLION), None),
        ("vendor.new-model-v1:0", usage(MILLION), None),
    ],
)
def test_bill_has_the_prices_of_the_model(model: str, counted: dict[str, Any], dollars: float | None) -> None:
    assert bill(model, counted) == (None if dollars is None else pytest.approx(dollars, rel=1e-12))


@pytest.mark.parametrize(
    ("tier", "latency", "dollars"),
    [
        ("default", "standard", 0.8),
        ("priority", "standard", 1.4),
        ("flex", "standard", 0.4),
        ("default", "optimized", 1.0),
        ("reserved", "standard", None),
    ],
)
def test_bill_has_the_factors_of_tier_and_latency(tier: str, latency: str, dollars: float | None) -> None:
    amount = bill("us.amazon.nova-pro-v1:0", usage(MILLION), tier, latency)
    assert amount == (None if dollars is None else pytest.approx(dollars))


def words(count: int, ttl: str | None = None) -> list[dict[str, Any]]:
    return [{"text": "word " * count}, {"cachePoint": {"type": "default"} | ({"ttl": ttl} if ttl else {})}]


def body(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"system": list(blocks), "messages": [{"role": "user", "content": [{"text": "and more"}]}]}


def test_prefix_that_is_too_short_is_not_cached() -> None:
    meter = Meter()
    for _ in range(2):
        counted = meter.usage("m", body(*words(511)), 0, least=512)
        assert (counted["inputTokens"], counted["cacheWriteInputTokens"], counted["cacheReadInputTokens"]) == (
            513,
            0,
            0,
        )
    counted = meter.usage("m", body(*words(400), *words(112)), 0, least=512)
    assert (counted["inputTokens"], counted["cacheWriteInputTokens"]) == (2, 512)


def test_writes_are_reported_by_lifetime() -> None:
    meter = Meter()
    both = body(*words(10, "1h"), *words(5))
    first, again = (meter.usage("m", both, 0) for _ in range(2))
    assert first["cacheDetails"] == [{"ttl": "1h", "inputTokens": 10}, {"ttl": "5m", "inputTokens": 5}]
    assert (first["cacheWriteInputTokens"], again["cacheReadInputTokens"], again["cacheDetails"]) == (15, 15, [])
    longer = meter.usage("m", body(*words(10, "1h"), *words(5), *words(3, "5m")), 0)
    assert longer["cacheDetails"] == [{"ttl": "5m", "inputTokens": 3}]
    assert "cacheDetails" not in meter.usage("m", body(*words(7)), 0)


def test_point_before_a_cached_prefix_writes_nothing() -> None:
    meter = Meter()
    meter.usage("m", body(*words(4)[:1], *words(2, "5m")), 0)
    counted = meter.usage("m", body(*words(4, "5m"), *words(2, "5m")), 0)
    assert (counted["cacheReadInputTokens"], counted["cacheWriteInputTokens"]) == (6, 0)
    assert counted["cacheDetails"] == []


def test_number_of_input_tokens_can_be_chosen() -> None:
    meter = Meter()
    meter.usage("m", body(*words(600)), 0)
    counted = meter.usage("m", body(*words(600)), 5, total_input=100_001)
    assert (counted["inputTokens"], counted["cacheReadInputTokens"]) == (99_401, 600)
    assert counted["totalTokens"] == 100_006
    assert bill(f"global.{HAIKU}", counted) == pytest.approx(5 * (9_940.1 + 6 + 2.5) / MILLION)
