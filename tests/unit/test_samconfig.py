"""samconfig.toml matches the template. Without this check, a wrong parameter fails only at deployment."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from local_stack.intrinsics import load
from tests.unit.rules import violated

ROOT = Path(__file__).parents[2]
TEMPLATE = load(ROOT / "template.yaml")
CONFIG = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
ENVIRONMENTS = ["dev", "prod"]


def overrides(environment: str) -> dict[str, str]:
    pairs = (override.split("=", 1) for override in CONFIG[environment]["global"]["parameters"]["parameter_overrides"])
    return {name: value.strip('"') for name, value in pairs}


def deploy(environment: str) -> dict[str, Any]:
    return {**CONFIG[environment]["global"]["parameters"], **CONFIG[environment]["deploy"]["parameters"]}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_template_allows_the_parameter_values(environment: str) -> None:
    for name, value in overrides(environment).items():
        parameter = TEMPLATE["Parameters"][name]
        assert value in map(str, parameter.get("AllowedValues", [value]))
        values = value.split(",") if parameter["Type"] == "CommaDelimitedList" else [value]
        assert all(re.search(parameter.get("AllowedPattern", ""), item) for item in values)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_parameter_values_violate_no_rule(environment: str) -> None:
    assert violated(TEMPLATE, overrides(environment)) == []


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_architecture_is_set_once_for_build_and_deploy(environment: str) -> None:
    assert "Architecture" in overrides(environment)
    assert "parameter_overrides" not in CONFIG[environment]["build"]["parameters"]
    assert "parameter_overrides" not in CONFIG[environment]["deploy"]["parameters"]


def test_recommended_reservation_is_within_the_stated_quota() -> None:
    """100 executions must stay unreserved: https://docs.aws.amazon.com/lambda/latest/api/API_PutFunctionConcurrency.html"""
    text = (ROOT / "samconfig.toml").read_text(encoding="utf-8")
    reserved = {name: int(value) for name, value in re.findall(r'# "(\w+Concurrency)=(\d+)",', text)}
    assert reserved.keys() == {"StreamConcurrency", "ConverseConcurrency"}
    assert f"must be at least {sum(reserved.values()) + 100}" in text
    assert all(TEMPLATE["Parameters"][name]["Default"] == "" for name in reserved)


def test_environments_have_different_stack_names_and_prefixes() -> None:
    for name in ("stack_name", "s3_prefix"):
        assert len({deploy(environment)[name] for environment in ENVIRONMENTS}) == len(ENVIRONMENTS)


def test_prod_confirms_the_change_set() -> None:
    assert deploy("prod")["confirm_changeset"] is True


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_capabilities_are_those_that_the_roles_need(environment: str) -> None:
    named_resources = [
        name
        for name, resource in TEMPLATE["Resources"].items()
        if {"RoleName", "ManagedPolicyName"} & resource.get("Properties", {}).keys()
    ]
    assert deploy(environment)["capabilities"] == ("CAPABILITY_NAMED_IAM" if named_resources else "CAPABILITY_IAM")
