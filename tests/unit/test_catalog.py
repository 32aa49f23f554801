"""The catalog: its format, the names of models, unknown models, overrides and prices."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from pydantic_core import from_json

from converse_stream.limits import Budget
from converse_stream.model import overrides
from converse_stream.model.capabilities import Model
from converse_stream.model.catalog import MAX_FOUND, Catalog
from converse_stream.protocol.events import Usage
from converse_stream.protocol.options import EFFORTS, Options

ROOT = Path(__file__).resolve().parents[2]
RAW = from_json((ROOT / "layers/converse_stream/converse_stream/model/catalog.json").read_bytes())
NAMES: list[str] = list(RAW["models"])
IMPORTED = "arn:aws:bedrock:eu-west-1:123456789012:imported-model/abcdefgh1234"
APPLICATION = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abcdefgh1234"


def resolve(name: str, **settings: Any) -> Model:
    return Catalog(**{"setting": "eu", "region": "eu-west-1", **settings})[name]


def test_catalog_file_has_the_documented_format() -> None:
    TypeAdapter(dict[str, overrides.Entry]).validate_python(RAW["models"])
    assert all({"title", "id"} <= entry.keys() for entry in RAW["models"].values())
    names = {*NAMES, *RAW["aliases"]}
    assert {*RAW["aliases"].values(), *RAW["families"].values()} - {None} <= set(NAMES)
    assert {name for entry in RAW["models"].values() for name in entry.get("fallbacks", ())} <= names
    assert not set(RAW["aliases"]) & set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_capabilities_of_each_model_fit_together(name: str) -> None:
    model = Catalog("global")[name] if "global" in Catalog("us")._model(name).profiles else Catalog("us")._model(name)
    assert model.max_output_tokens < model.context_window
    assert model.structured_output != "forced-tool" or model.forced_tools != "never"
    if thinking := model.thinking:
        assert list(thinking.efforts) == sorted(thinking.efforts, key=EFFORTS.index)
        assert thinking.can_disable or thinking.default in thinking.efforts
    above = [price.above for price in model.price]
    assert above == sorted(set(above))
    assert above[:1] in ([], [0])


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("claude-sonnet", "eu.anthropic.claude-sonnet-5-5"),
        ("claude-sonnet-4-5", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("anthropic.claude-sonnet-5-5", "eu.anthropic.claude-sonnet-5-5"),
        ("global.anthropic.claude-sonnet-5-5", "global.anthropic.claude-sonnet-5-5"),
        ("openai.gpt-oss-120b-1:0", "openai.gpt-oss-120b-1:0"),
        ("anthropic.claude-sonnet-7-v1:0", "eu.anthropic.claude-sonnet-7-v1:0"),
        ("us.anthropic.claude-sonnet-7-v1:0", "us.anthropic.claude-sonnet-7-v1:0"),
        ("vendor.new-model-1", "vendor.new-model-1"),
        (APPLICATION, APPLICATION),
        ("arn:aws:bedrock:eu-west-1::foundation-model/amazon.nova-lite-v1:0",) * 2,
        ("arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.amazon.nova-lite-v1:0",) * 2,
    ],
)
def test_name_is_resolved_to_the_id_in_the_request(name: str, called: str) -> None:
    assert resolve(name).id == called


@pytest.mark.parametrize("name", ["claude", "nova", "gpt5", "", "us.claude-haiku", "us.us.anthropic.claude-haiku-5-5"])
def test_word_that_is_no_alias_and_no_id_is_no_model(name: str) -> None:
    assert Catalog("eu").get(name) is None


def test_newer_model_of_a_family_behaves_like_the_newest_known_one() -> None:
    newer, known = resolve("anthropic.claude-haiku-7-v1:0"), resolve("claude-haiku")
    assert (newer.thinking, newer.sampling, newer.prefill) == (known.thinking, known.sampling, False)
    assert (newer.price, newer.title, newer.name) == ((), "", "anthropic.claude-haiku-7-v1:0")
    assert resolve("anthropic.claude-saga-6").thinking == resolve("claude-opus").thinking
    assert resolve("anthropic.claude-3-haiku-20240307-v1:0").max_output_tokens == 4_096
    assert not resolve("meta.llama5-8b-instruct-v1:0", setting="us").tool_streaming


def test_unknown_model_has_conservative_capabilities() -> None:
    model = resolve("vendor.new-model-1")
    assert (model.context_window, model.max_output_tokens, model.thinking, model.cache) == (128_000, 4_096, None, None)
    assert model.streaming
    assert model.tool_streaming
    assert model.priced(Usage(1, 1), Options()).cost is None


def test_arn_of_a_known_model_has_its_capabilities_and_the_price_of_its_profile() -> None:
    geographic = resolve("arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-5-5")
    assert geographic.thinking == resolve("claude-sonnet").thinking
    assert geographic.priced(Usage(1_000_000), Options()).cost == 2.2e9
    worldwide = resolve("global.anthropic.claude-sonnet-5-5")
    assert worldwide.priced(Usage(1_000_000), Options()).cost == 2e9


@pytest.mark.parametrize("name", [APPLICATION, IMPORTED])
def test_override_like_a_known_model_gives_an_arn_its_capabilities(name: str) -> None:
    model = resolve(name, overrides={name: {"like": "claude-haiku", "contextWindow": 50_000}})
    assert (model.id, model.context_window, model.max_output_tokens) == (name, 50_000, 128_000)
    assert model.thinking == resolve("claude-haiku").thinking
    assert model.price == resolve("claude-haiku").price


@pytest.mark.parametrize("name", ["claude-sonnet", "claude-sonnet-5-5", "anthropic.claude-sonnet-5-5"])
def test_override_applies_to_all_names_of_a_model(name: str) -> None:
    catalog = Catalog("eu", overrides={name: {"price": [{"input": 9, "output": 90}], "thinking": None}})
    for each in ("claude-sonnet", "eu.anthropic.claude-sonnet-5-5"):
        assert catalog[each].priced(Usage(1_000_000), Options()).cost == 9.9e9
        assert catalog[each].thinking is None


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"a.b": {"contextWindow": 0}}', "a.b.contextWindow: "),
        ('{"a.b": {"price": [{"input": 1}]}}', "a.b.price.0.output: Field required"),
        ('{"a.b": {"thinking": {"style": "deep"}}}', "a.b.thinking.style: "),
        ('{"a.b": {"colour": 1}}', "a.b.colour: Extra inputs are not permitted"),
        ('{"a.b": {"id": "c.d"}}', "a.b.id: Extra inputs are not permitted"),
        ('{"a.b": {"price": null}}', "a.b.price: Input should be a valid array"),
        ('{"a.b": {"contextWindow": null}}', "a.b.contextWindow: "),
        ('{"a.b": {"profiles": {}}}', "a.b.profiles: "),
        ('{"a.b": {"price": [{"above": 5, "input": 1, "output": 1}]}}', "a.b.price: .*without above"),
        ('{"a.b": {"thinking": {"style": "nova", "default": "max"}}}', "a.b.thinking: .*not one of efforts"),
        ("{", "JSON"),
    ],
)
def test_wrong_override_is_named_by_its_field(text: str, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        overrides.parse(text)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"a.b": {"like": "claude-haikuu"}}, r"a\.b\.like: claude-haikuu is not in the catalog"),
        ({"claude-haikuu": {"title": "x"}}, "claude-haikuu: it is no model"),
        ({"claude-haiku": {"fallbacks": ["nova"]}}, r"claude-haiku-5-5\.fallbacks: nova is no model"),
    ],
)
def test_override_that_names_no_model_is_refused(fields: Any, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        Catalog("eu", overrides=fields).check_overrides()


def test_two_overrides_of_one_model_are_joined() -> None:
    both: dict[str, Any] = {"claude-haiku": {"title": "A"}, "anthropic.claude-haiku-5-5": {"contextWindow": 9_000_000}}
    model = Catalog("eu", overrides=both)["claude-haiku"]
    assert (model.title, model.context_window) == ("A", 9_000_000)


def test_refused_names_do_not_fill_the_memory() -> None:
    catalog = Catalog("eu")
    for number in range(3 * MAX_FOUND):
        catalog.get(f"vendor.model-{number}")
    assert len(catalog._found) <= MAX_FOUND


HAIKU = "global.anthropic.claude-haiku-5-5"
# (model, usage, tokens of long cache writes, options, billionths of a dollar), computed by hand from the price lists.
BILLS: list[tuple[str, Usage, int, dict[str, str], int | None]] = [
    (HAIKU, Usage(100_000, 1_000), 0, {}, 100_000 * 100 + 1_000 * 500),
    (HAIKU, Usage(100_001, 1_000), 0, {}, 100_001 * 500 + 1_000 * 2_500),
    (HAIKU, Usage(1, 1_000, cache_read_tokens=100_000), 0, {}, 1 * 500 + 100_000 * 50 + 1_000 * 2_500),
    (HAIKU, Usage(10, 20, cache_write_tokens=1_000), 1_000, {}, 10 * 100 + 20 * 500 + 1_000 * 200),
    (HAIKU, Usage(10, 20, cache_write_tokens=1_000), 400, {}, 10 * 100 + 20 * 500 + 600 * 125 + 400 * 200),
    ("us.anthropic.claude-opus-5-5", Usage(1_000, 100), 0, {}, 1_000 * 4_400 + 100 * 22_000),
    ("jp.anthropic.claude-sonnet-4-5-20250929-v1:0", Usage(0, 0, 1_000), 0, {}, 1_000 * 330),
    ("amazon.nova-lite-v1:0", Usage(1_000, 100, 40, 80), 0, {}, 1_000 * 60 + 100 * 240 + 40 * 15 + 80 * 60),
    ("amazon.nova-pro-v1:0", Usage(1_000, 100), 0, {"serviceTier": "flex"}, (1_000 * 800 + 100 * 3_200) // 2),
    ("openai.gpt-6.1-sol", Usage(1_000, 100), 0, {}, None),
    ("vendor.new-model-1", Usage(1_000, 100), 0, {}, None),
]


@pytest.mark.parametrize(("name", "usage", "long_writes", "options", "billionths"), BILLS)
def test_bill(name: str, usage: Usage, long_writes: int, options: dict[str, str], billionths: int | None) -> None:
    priced = resolve(name).priced(usage, Options.model_validate(options), long_cache_writes=long_writes)
    assert priced.cost == (None if billionths is None else pytest.approx(billionths, abs=1))


def test_budget_allows_fewer_output_tokens_above_the_limit_of_a_price() -> None:
    """An estimate may be too low by a fourth, and all input may be written to the cache for an hour."""
    model, budget = resolve(HAIKU), Budget(0, 200_000_000)  # 0.2 dollars
    assert model.affordable(budget, 80_000, Options()) == pytest.approx((200_000 - 80_000 * 0.2) / 0.5)
    assert model.affordable(budget, 80_001, Options()) == pytest.approx((200_000 - 80_001 * 1) / 2.5)
    assert resolve("vendor.new-model-1").affordable(Budget(500, 1), 100, Options()) == 400
