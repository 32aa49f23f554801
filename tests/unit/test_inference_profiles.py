"""Inference profiles in every region of Bedrock: the application, the template's rules and its IAM policies agree."""

import json
from typing import Any

import botocore.session
import pytest

from converse_stream.model.catalog import Catalog, profiles_of
from converse_stream.protocol import errors
from converse_stream.protocol.events import Usage
from converse_stream.protocol.options import Options
from converse_stream.settings import SettingsError
from local_stack.intrinsics import PSEUDO_PARAMETERS, Resolver
from tests.property.fake_table import FakeDynamo, NoFaults
from tests.unit.test_service import application
from tests.unit.transform import ROOT, SOURCE

BOTOCORE = botocore.session.get_session()
REGIONS = {
    region: partition
    for partition in BOTOCORE.get_available_partitions()
    for region in BOTOCORE.get_available_regions("bedrock", partition)
}
SETTINGS: list[str] = SOURCE["Parameters"]["InferenceProfile"]["AllowedValues"]
MODELS: dict[str, Any] = json.loads(
    (ROOT / "layers/converse_stream/converse_stream/model/catalog.json").read_text(encoding="utf-8")
)
GEOGRAPHIC = {"us", "eu", "apac", "us-gov"}


def geography(region: str) -> str | None:
    """The geography of a region, or None if the region's name does not contain it."""
    if region.startswith("us-gov-"):
        return "us-gov"
    return {"us": "us", "ca": "us", "eu": "eu", "ap": "apac"}.get(region.partition("-")[0])


def resolver(region: str, setting: str) -> Resolver:
    pseudo_parameters = {**PSEUDO_PARAMETERS, "AWS::Region": region, "AWS::Partition": REGIONS[region]}
    return Resolver(SOURCE, {"InferenceProfile": setting}, lambda name: name, lambda name, _: name, pseudo_parameters)


def is_accepted(region: str, setting: str) -> bool:
    resolved = resolver(region, setting)
    return all(
        resolved.resolve(assertion["Assert"], name)
        for name, rule in SOURCE["Rules"].items()
        if "Profile" in json.dumps(rule) and resolved.resolve(rule.get("RuleCondition", True), name)
        for assertion in rule["Assertions"]
    )


def permitted_profiles(region: str, setting: str) -> set[str]:
    """Ids of the inference profiles that the roles of the functions may call."""
    policy = resolver(region, setting).resolve(SOURCE["Resources"]["ModelPolicy"]["Properties"], "ModelPolicy")
    before = f"arn:{REGIONS[region]}:bedrock:{region}:{PSEUDO_PARAMETERS['AWS::AccountId']}:inference-profile/"
    return {
        arn.removeprefix(before)
        for statement in policy["PolicyDocument"]["Statement"]
        for arn in statement["Resource"]
        if ":inference-profile/" in arn
    }


PAIRS = [(region, setting) for region in REGIONS for setting in SETTINGS]
ACCEPTED = [pair for pair in PAIRS if is_accepted(*pair)]


def test_rules_refuse_only_the_profile_of_another_geography() -> None:
    assert len(REGIONS) > 30
    for region, setting in PAIRS:
        own = geography(region)
        foreign = setting in GEOGRAPHIC and own is not None and setting != own
        assert ((region, setting) in ACCEPTED) == (not foreign and (setting != "us-gov" or own == "us-gov"))


@pytest.mark.parametrize("region", REGIONS)
def test_roles_permit_exactly_the_profiles_that_are_called(region: str) -> None:
    for setting in (setting for profile_region, setting in ACCEPTED if profile_region == region):
        catalog = Catalog(setting, region)
        called = {catalog[alias].id for alias in catalog} - {model["id"] for model in MODELS.values()}
        permitted = permitted_profiles(region, setting)
        assert called <= permitted, setting
        # With `global`, a model that has a global profile may be called by the narrower one of the region as well.
        narrower = {profile for profile in permitted if setting == "global" and not profile.startswith("global.")}
        assert permitted - narrower <= called, setting
        assert {profile.partition(".")[0] for profile in narrower} <= {geography(region)}, setting


@pytest.mark.parametrize(("region", "setting"), [("us-east-1", "global"), *((region, "auto") for region in REGIONS)])
def test_default_models_are_available_in_every_region(region: str, setting: str) -> None:
    app = application(FakeDynamo(NoFaults()), inference_profile=setting, aws_region=region)
    assert {"nova-lite", "nova-micro"} <= set(app.models.aliases)


def test_auto_selects_the_profile_of_the_region() -> None:
    profiles = {region: profiles_of("auto", region)[0] for region in REGIONS}
    assert {region: profile for region, profile in profiles.items() if profile != "global"} == {
        region: geography(region) for region in REGIONS if geography(region)
    }
    assert profiles["sa-east-1"] == profiles["eusc-de-east-1"] == "global"


@pytest.mark.parametrize(
    ("setting", "region", "ids"),
    [
        ("auto", "us-gov-west-1", {"nova-lite": "amazon.nova-lite-v1:0"}),
        ("auto", "ca-central-1", {"nova-lite": "us.amazon.nova-lite-v1:0"}),
        ("auto", "sa-east-1", {"nova-lite": "amazon.nova-lite-v1:0"}),
        ("global", "eu-west-1", {"nova-lite": "eu.amazon.nova-lite-v1:0"}),
        ("global", "sa-east-1", {"nova-lite": "amazon.nova-lite-v1:0"}),
        ("none", "eu-west-1", {"nova-lite": "amazon.nova-lite-v1:0"}),
    ],
)
def test_model_without_the_profile_is_called_by_its_own_id(setting: str, region: str, ids: dict[str, str]) -> None:
    catalog = Catalog(setting, region)
    assert {alias: catalog[alias].id for alias in ids} == ids
    assert ("claude-haiku" in catalog) == (setting == "global" or region in {"ca-central-1", "sa-east-1"})
    if "claude-haiku" in catalog:
        assert catalog["claude-haiku"].id.startswith("us." if region == "ca-central-1" else "global.")


def test_price_is_that_of_the_selected_profile() -> None:
    price = Catalog("global", "us-east-1")["claude-haiku"].priced(Usage(1_000_000), Options()).cost
    assert price == 10**9
    assert Catalog("auto", "us-east-1")["claude-haiku"].priced(Usage(1_000_000), Options()).cost == 1.1 * 10**9


@pytest.mark.parametrize("variable", ["default_model", "task_model"])
def test_unavailable_default_model_error_suggests_the_global_profile(variable: str) -> None:
    settings = {"aws_region": "ap-south-1", "inference_profile": "auto", variable: "claude-haiku"}
    with pytest.raises(SettingsError, match=rf"^{variable.upper()}: claude-haiku .*InferenceProfile=global"):
        application(FakeDynamo(NoFaults()), **settings)


def test_unavailable_model_is_refused_when_it_is_requested() -> None:
    settings = {"aws_region": "ap-south-1", "inference_profile": "auto", "allowed_models": "nova-lite,claude-haiku"}
    app = application(FakeDynamo(NoFaults()), **settings)
    assert app.models.aliases == ["nova-lite"]
    with pytest.raises(errors.BadRequest, match="InferenceProfile=global"):
        app.models.check("claude-haiku", Options())
    with pytest.raises(errors.BadRequest, match=r"one of nova-lite\."):
        app.models.check("claude-sonnet", Options())  # in the catalog, but not in ALLOWED_MODELS
    with pytest.raises(errors.BadRequest, match="InferenceProfile=global"):
        Catalog("auto", "ap-south-1")["claude-haiku"]


def test_error_does_not_suggest_a_profile_that_the_model_lacks() -> None:
    catalog = Catalog("auto", "ap-south-1")
    model = catalog["nova-lite"].model_copy(update={"profiles": {"us": 1}})
    del catalog._models["nova-lite"]
    catalog._all["nova-lite"] = model
    assert "global" not in str(catalog.unavailable_reason("nova-lite"))
