"""Inference profiles in every region of Bedrock: the application, the template's rules and its IAM policy agree."""

import re

import botocore.session
import pytest

from converse_stream.model.catalog import Catalog
from converse_stream.model.identifiers import profiles_of
from converse_stream.protocol import errors
from converse_stream.protocol.events import Usage
from converse_stream.protocol.options import Options
from converse_stream.settings import DEFAULT_ALLOWED, SettingsError
from local_stack.intrinsics import PSEUDO_PARAMETERS, Resolver
from tests.property.fake_table import FakeDynamo, NoFaults
from tests.unit.iam import permits, resources
from tests.unit.rules import violated
from tests.unit.test_service import application
from tests.unit.transform import SOURCE

BOTOCORE = botocore.session.get_session()
REGIONS = {
    region: partition
    for partition in BOTOCORE.get_available_partitions()
    for region in BOTOCORE.get_available_regions("bedrock", partition)
}
SETTINGS: list[str] = SOURCE["Parameters"]["InferenceProfile"]["AllowedValues"]
# Regions that a geography's profile can be called from, by the start of their names.
SOURCES = {
    "us": ("us-east-", "us-west-", "us-iso", "ca-"),
    "us-gov": ("us-gov-",),
    "eu": ("eu-",),
    "apac": ("ap-east-", "ap-south-", "ap-northeast-", "ap-southeast-"),
    "jp": ("ap-northeast-1", "ap-northeast-3"),
    "au": ("ap-southeast-2", "ap-southeast-4"),
}


def may_have(region: str, setting: str) -> bool:
    """Whether Bedrock can have profiles of this setting in the region, as far as the names tell."""
    own = {geography for geography, starts in SOURCES.items() if region.startswith(starts)}
    return setting not in SOURCES or setting in own or (not own and setting in {"us", "eu", "apac"})


PAIRS = [(region, setting) for region in REGIONS for setting in SETTINGS]
ACCEPTED = [pair for pair in PAIRS if violated(SOURCE, {"InferenceProfile": pair[1]}, region=pair[0]) == []]


def test_rules_refuse_only_the_profile_of_another_geography() -> None:
    assert len(REGIONS) > 30
    assert set(ACCEPTED) == {pair for pair in PAIRS if may_have(*pair)}


def permitted_models(region: str) -> list[str]:
    """The resources of the default policy in a region."""
    pseudo_parameters = {**PSEUDO_PARAMETERS, "AWS::Region": region, "AWS::Partition": REGIONS[region]}
    resolver = Resolver(SOURCE, {}, lambda name: name, lambda name, _: name, pseudo_parameters)
    policy = resolver.resolve(SOURCE["Resources"]["ModelPolicy"]["Properties"], "ModelPolicy")["PolicyDocument"]
    [models] = [statement for statement in policy["Statement"] if statement["Sid"] == "Models"]
    listed: list[str] = models["Resource"]
    return listed


@pytest.mark.parametrize("region", REGIONS)
def test_default_policy_permits_every_model_of_the_catalog(region: str) -> None:
    permitted = permitted_models(region)
    for setting in (setting for own, setting in ACCEPTED if own == region):
        catalog = Catalog(setting, region)
        ids = [catalog[name].id for name in catalog if name in catalog]
        needed = [arn for each in ids for arn in resources(each, region, REGIONS[region])]
        assert ids
        assert [arn for arn in needed if not permits(permitted, arn)] == [], setting


@pytest.mark.parametrize(
    "model_id",
    [
        "cohere.command-r-plus-v1:0",
        "us.cohere.command-r-plus-v1:0",
        "amazon.titan-text-express-v1",
        "us.writer.palmyra-x5-v1:0",
        "anthropic.other-v1",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123",
        "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc123",
        "arn:aws:bedrock:us-east-1:123456789012:imported-model/abc123",
    ],
)
def test_default_policy_permits_no_other_model(model_id: str) -> None:
    permitted = permitted_models("us-east-1")
    assert not any(permits(permitted, arn) for arn in resources(model_id, "us-east-1"))


def test_default_policy_has_the_families_of_the_catalog_only() -> None:
    catalog = Catalog("global", "us-east-1")
    ids = [f"global.{catalog.entry(name).base_id}" for name in catalog.names]
    for arn in permitted_models("us-east-1"):
        assert any(permits([arn], each) for model_id in ids for each in resources(model_id, "us-east-1")), arn


def test_allowed_models_are_those_of_the_settings() -> None:
    assert SOURCE["Parameters"]["AllowedModels"]["Default"] == DEFAULT_ALLOWED


@pytest.mark.parametrize("name", ["DefaultModel", "TaskModel", "AllowedModels"])
@pytest.mark.parametrize(
    "model",
    [
        "nova-lite",
        "anthropic.claude-sonnet-5-5",
        "us.amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123",
    ],
)
def test_every_kind_of_name_is_accepted(name: str, model: str) -> None:
    assert re.search(SOURCE["Parameters"][name]["AllowedPattern"], model)


@pytest.mark.parametrize(
    ("models", "accepted"),
    [("", True), ("*", True), ("anthropic.*,nova-lite", True), ("a,,b", False), ("a b", False), ('"a"', False)],
)
def test_allowed_models_are_names_and_patterns(models: str, *, accepted: bool) -> None:
    assert bool(re.search(SOURCE["Parameters"]["AllowedModels"]["AllowedPattern"], models)) == accepted


@pytest.mark.parametrize(
    ("arn", "accepted"),
    [
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123", True),
        ("arn:aws:bedrock:::foundation-model/anthropic.claude-opus-5-5", True),
        ("arn:*:bedrock:*:*:imported-model/*", True),
        ("*", False),
        ("arn:aws:s3:::bucket/*", False),
        ("arn:aws:bedrock:us-east-1:12:imported-model/abc123", False),
    ],
)
def test_only_arns_of_models_are_accepted(arn: str, *, accepted: bool) -> None:
    assert bool(re.search(SOURCE["Parameters"]["ModelArns"]["AllowedPattern"], arn)) == accepted


@pytest.mark.parametrize(("region", "setting"), [("us-east-1", "global"), *((region, "auto") for region in REGIONS)])
def test_default_models_are_available_in_every_region(region: str, setting: str) -> None:
    app = application(FakeDynamo(NoFaults()), inference_profile=setting, aws_region=region)
    assert {"nova-lite", "nova-micro"} <= set(app.models.names)


def test_auto_selects_the_narrowest_profile_of_the_region() -> None:
    profiles = {region: profiles_of("auto", region)[0] for region in REGIONS}
    for region, profile in profiles.items():
        own = [geography for geography, starts in SOURCES.items() if region.startswith(starts)]
        assert profile == (min(own, key=lambda geography: len(SOURCES[geography])) if own else "global")
    assert (profiles["ap-northeast-1"], profiles["sa-east-1"]) == ("jp", "global")


@pytest.mark.parametrize(
    ("setting", "region", "nova", "claude"),
    [
        ("auto", "us-east-1", "us", "us"),
        ("auto", "us-gov-west-1", "", None),
        ("auto", "ca-central-1", "us", "us"),
        ("auto", "sa-east-1", "", "global"),
        ("auto", "ap-northeast-1", "apac", "jp"),
        ("auto", "ap-southeast-4", "apac", "au"),
        ("auto", "ap-south-1", "apac", None),
        ("global", "eu-west-1", "eu", "global"),
        ("global", "sa-east-1", "", "global"),
        ("jp", "ap-northeast-1", "", "jp"),
        ("none", "eu-west-1", "", None),
    ],
)
def test_model_is_called_with_the_first_profile_that_it_has(
    setting: str, region: str, nova: str, claude: str | None
) -> None:
    catalog = Catalog(setting, region)
    assert catalog["nova-lite"].id == f"{nova}.amazon.nova-lite-v1:0".removeprefix(".")
    assert ("claude-haiku" in catalog) == (claude is not None)
    if claude:
        assert catalog["claude-haiku"].id == f"{claude}.anthropic.claude-haiku-5-5"


def test_price_is_that_of_the_selected_profile() -> None:
    usage = Usage(1_000_000)
    price = Catalog("global", "us-east-1")["claude-opus"].priced(usage, Options()).cost
    assert price
    assert Catalog("auto", "us-east-1")["claude-opus"].priced(usage, Options()).cost == pytest.approx(1.1 * price)


@pytest.mark.parametrize("variable", ["default_model", "task_model"])
def test_unavailable_default_model_error_suggests_the_global_profile(variable: str) -> None:
    settings = {"aws_region": "ap-south-1", "inference_profile": "auto", variable: "claude-haiku"}
    with pytest.raises(SettingsError, match=rf"^{variable.upper()}: claude-haiku .*InferenceProfile=global"):
        application(FakeDynamo(NoFaults()), **settings)


def test_unavailable_model_is_refused_when_it_is_requested() -> None:
    settings = {"aws_region": "ap-south-1", "inference_profile": "auto", "allowed_models": "nova-lite,claude-haiku"}
    app = application(FakeDynamo(NoFaults()), **settings)
    assert app.models.names == ["nova-lite"]
    with pytest.raises(errors.ModelNotAllowed, match="InferenceProfile=global"):
        app.models.check("claude-haiku", Options())
    with pytest.raises(errors.ModelNotAllowed, match=r"one of nova-lite\."):
        app.models.check("claude-sonnet", Options())  # in the catalog, but not in ALLOWED_MODELS


def test_error_does_not_suggest_a_profile_that_the_model_lacks() -> None:
    reason = Catalog("eu", "eu-west-1").unavailable_reason("llama-4-maverick")
    assert reason
    assert "global" not in reason
