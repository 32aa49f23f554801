"""The list of models of `GET /models`: what is not known, and what no model of the end-to-end tests has."""

from typing import Any

import pytest

from converse_stream.model.catalog import Catalog
from converse_stream.service.models import to_json

ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"


def listed(name: str, setting: str = "auto") -> dict[str, Any]:
    model = Catalog(setting, "us-east-1")[name]
    [found] = to_json(name, {name: model})["models"]
    return dict(found)


def test_a_model_that_always_thinks_has_no_effort_none() -> None:
    reasoning = listed("claude-sonnet")["reasoning"]
    assert (reasoning["always"], reasoning["default"], "none" in reasoning["efforts"]) == (True, "high", False)


@pytest.mark.parametrize(("setting", "price"), [("auto", 2.2), ("global", 2)])
def test_the_price_is_that_of_the_inference_profile(setting: str, price: float) -> None:
    assert listed("claude-sonnet", setting)["pricePerMillion"]["input"] == price


@pytest.mark.parametrize("name", [ARN, "anthropic.claude-opus-7"])
def test_a_model_outside_the_catalog_is_listed_by_its_id_without_a_price(name: str) -> None:
    model = listed(name)
    assert (model["id"], model["name"], model["model"], model["pricePerMillion"]) == (name, name, name, None)
