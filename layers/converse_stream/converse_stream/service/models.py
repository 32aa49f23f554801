"""The models that a user may choose, with what they accept and cost: `GET /models`."""

from collections.abc import Mapping
from typing import Any

from converse_stream.auth import User
from converse_stream.container import Container
from converse_stream.model.capabilities import Model, Price, Thinking
from converse_stream.service.prompts import default_model, is_priced


def models(app: Container, user: User) -> dict[str, Any]:
    """The models that requests may name, and the model of a request that names none, as JSON."""
    default = default_model(app, user, app.flags.for_user(user.key))
    # A feature flag may set a model that only a pattern allows.
    names = sorted(name for name in {*app.models.names, default} if is_priced(app, user, name))
    return to_json(default, {name: app.models[name] for name in names})


def to_json(default: str, named: Mapping[str, Model]) -> dict[str, Any]:
    """The JSON object of the list, from the models by the names that requests use."""
    return {"default": default, "models": [_model(name, model) for name, model in named.items()]}


def _model(name: str, model: Model) -> dict[str, Any]:
    return {
        "id": name,
        "name": model.title or name,
        "model": model.base_id,
        "inputs": list(model.inputs),
        "reasoning": _reasoning(model.thinking) if model.thinking else None,
        "contextTokens": model.context_window,
        "outputTokens": model.max_output_tokens,
        "lifecycle": model.lifecycle,
        "pricePerMillion": _prices(model),
    }


def _reasoning(thinking: Thinking) -> dict[str, Any]:
    efforts = ["none", *thinking.efforts] if thinking.can_disable else [*thinking.efforts]
    return {"efforts": efforts, "default": thinking.default, "always": not thinking.can_disable}


def _prices(model: Model) -> dict[str, Any] | None:
    """The first price, and those of larger requests as `tiers`. None if the price is not known."""
    if not model.price:
        return None
    first, *others = model.price
    tiers = [{"above": price.above, **_price(price, model.price_factor)} for price in others]
    return _price(first, model.price_factor) | ({"tiers": tiers} if tiers else {})


def _price(price: Price, factor: float) -> dict[str, float]:
    dollars = {
        "input": price.input,
        "output": price.output,
        "cacheRead": price.cache_read,
        "cacheWrite": price.cache_write,
    }
    return {name: round(value * factor, 6) for name, value in dollars.items() if value is not None}
