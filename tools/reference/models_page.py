"""Generates docs/reference/models.md: the models of the catalog."""

from collections.abc import Iterator

from converse_stream.model.capabilities import Model, Price
from converse_stream.model.catalog import Catalog
from tools.reference.markdown import code, codes, link, page, table

INTRODUCTION = f"""\
The models of {link("catalog.json", file="../../layers/converse_stream/converse_stream/model/catalog.json")}.
{link("Models", file="../models.md")} explains the columns, and how to use a model that is not listed."""

PRICES = f"""\
US dollars for a million tokens, on demand, without the factor of a geographic profile. Models that are not in the table
have no price. Set it in {link("`ModelOverrides`", "Models", "parameters.md")}."""


def text() -> str:
    """Return the text of the page."""
    catalog = Catalog("none")
    models = [catalog.entry(name) for name in catalog.names]
    aliases = {name: alias for alias, name in catalog.aliases.items()}
    return page(
        "Models",
        INTRODUCTION,
        table(
            ("name", "alias", "Bedrock's id", "profiles", "context", "output", "input"),
            [
                (
                    code(model.name),
                    code(aliases[model.name]) if model.name in aliases else "",
                    code(model.base_id),
                    codes(model.profiles),
                    f"{model.context_window:,}",
                    f"{model.max_output_tokens:,}",
                    ", ".join(model.inputs),
                )
                for model in models
            ],
        ),
        "## Capabilities",
        table(
            (
                "name",
                "efforts of thinking",
                "default",
                "sampling",
                "forced tools",
                "schema",
                "prompt cache",
                "fallbacks",
            ),
            list(map(_capabilities, models)),
        ),
        "## Prices",
        PRICES,
        table(
            ("name", "above input tokens", "input", "output", "cache read", "cache write", "1 h cache write"),
            [row for model in models for row in _prices(model)],
        ),
    )


def _capabilities(model: Model) -> tuple[str, ...]:
    thinking, sampling = model.thinking, codes(model.sampling, last=" or " if model.sampling_exclusive else ", ")
    efforts, default = "", ""
    if thinking:
        efforts = "tokens" if thinking.style == "budget" else codes(thinking.efforts)
        efforts += ", always" if not thinking.can_disable else ""
        default = code(thinking.default) if thinking.default else "off"
    cache = f"from {model.cache.min_tokens:,} tokens, {' or '.join(model.cache.ttls)}" if model.cache else ""
    return (
        code(model.name),
        efforts,
        default,
        sampling,
        model.forced_tools,
        model.structured_output,
        cache,
        codes(model.fallbacks),
    )


def _prices(model: Model) -> Iterator[tuple[str, ...]]:
    for price in model.price:
        yield code(model.name), f"{price.above:,}" if price.above else "", *_columns(price)


def _columns(price: Price) -> Iterator[str]:
    for value in (price.input, price.output, price.cache_read, price.cache_write, price.long_cache_write):
        yield "" if value is None else f"{value:g}"
