"""The printed list for ModelArns permits every call of a deployment, and nothing of another family."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from converse_stream.model.allowed import AllowedModels
from converse_stream.model.catalog import Catalog
from tests.unit.iam import ACCOUNT, permits, resources
from tests.unit.transform import SOURCE
from tools.models import __main__ as command
from tools.models.arns import Deployment, UncallableModelError, arns, without_known_model

REGION = "us-east-1"
APPLICATION_PROFILE = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:application-inference-profile/abc123"
IMPORTED = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:imported-model/def456"
DEFAULT = Deployment(
    default_model="nova-lite",
    task_model="nova-micro",
    allowed_models=tuple(SOURCE["Parameters"]["AllowedModels"]["Default"].split(",")),
    inference_profile="auto",
    region=REGION,
    account=ACCOUNT,
)
DEPLOYMENTS = {
    "defaults": DEFAULT,
    "only the default model": replace(DEFAULT, default_model="claude-sonnet", allowed_models=()),
    "global profiles": replace(DEFAULT, inference_profile="global"),
    "no profiles": replace(DEFAULT, inference_profile="none"),
    "Japan": replace(DEFAULT, region="ap-northeast-1"),
    "GovCloud": replace(DEFAULT, region="us-gov-west-1", partition="aws-us-gov"),
    "a family": replace(DEFAULT, allowed_models=("anthropic.*",)),
    "a family with a profile": replace(DEFAULT, allowed_models=("us.anthropic.claude-*",)),
    "a word": replace(DEFAULT, allowed_models=("*claude*",)),
    "a letter": replace(DEFAULT, allowed_models=("u*",)),
    "everything": replace(DEFAULT, allowed_models=("*",)),
    "ids": replace(DEFAULT, allowed_models=("eu.amazon.nova-lite-v1:0", "vendor.new-model-v1:0", "grok", IMPORTED)),
    "ARNs": replace(
        DEFAULT,
        default_model=APPLICATION_PROFILE,
        allowed_models=(f"arn:aws:bedrock:{REGION}:{ACCOUNT}:inference-profile/us.anthropic.claude-opus-5-5",),
        overrides={APPLICATION_PROFILE: {"like": "claude-opus"}},
    ),
}
NEWER = ["anthropic.claude-opus-7", "amazon.nova-3-lite-v1:0", "openai.gpt-7", "vendor.other-model-v1:0"]
PROFILES = ["us", "eu", "jp", "global"]


def names(deployment: Deployment) -> list[str]:
    """Names that a caller may try: those of the catalog, ids with and without profiles, newer models, ARNs."""
    catalog = Catalog("none", deployment.region)
    ids = [*(catalog.entry(name).base_id for name in catalog.names), *NEWER]
    profiles = [f"{profile}.{each}" for profile in PROFILES for each in ids]
    return [*catalog, *ids, *profiles, APPLICATION_PROFILE, IMPORTED, *deployment.allowed_models]


def called(deployment: Deployment) -> set[str]:
    """Ids and ARNs that the functions call: of every name that a caller may use, of fallbacks, and of tasks."""
    catalog = Catalog(deployment.inference_profile, deployment.region, deployment.overrides)
    allowed = AllowedModels(catalog, deployment.allowed_models, deployment.default_model)
    used = [name for name in names(deployment) if name in allowed]
    fallbacks = [each for name in used for each in catalog[name].fallbacks if each in allowed]
    own = (deployment.default_model, deployment.task_model)
    return {catalog[name].id for name in (*used, *fallbacks, *own)}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_list_permits_every_call(name: str) -> None:
    deployment = DEPLOYMENTS[name]
    listed = arns(deployment)
    needed = [arn for each in called(deployment) for arn in resources(each, deployment.region, deployment.partition)]
    assert [arn for arn in needed if not permits(listed, arn)] == []


@pytest.mark.parametrize("name", sorted(DEPLOYMENTS.keys() - {"everything", "a letter"}))
def test_list_permits_no_profile_that_is_not_called_and_no_other_family(name: str) -> None:
    deployment = DEPLOYMENTS[name]
    listed, calls = arns(deployment), called(deployment)
    others = {each for each in names(deployment) if "." in each and "*" not in each and not each.startswith("arn:")}
    needed = {arn for each in calls for arn in resources(each, deployment.region, deployment.partition)}
    unused = {resources(each, deployment.region, deployment.partition)[0] for each in others} - needed
    assert [arn for arn in unused if permits(listed, arn)] == []


def test_profile_of_an_application_needs_the_model_that_it_is_like() -> None:
    listed = arns(DEPLOYMENTS["ARNs"])
    assert APPLICATION_PROFILE in listed
    assert "arn:aws:bedrock:*::foundation-model/anthropic.claude-opus-5-5" in listed
    assert without_known_model(DEPLOYMENTS["ARNs"]) == []
    assert without_known_model(replace(DEPLOYMENTS["ARNs"], overrides={})) == [APPLICATION_PROFILE]


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_list_is_a_value_that_the_template_accepts(name: str) -> None:
    pattern = SOURCE["Parameters"]["ModelArns"]["AllowedPattern"]
    listed = arns(DEPLOYMENTS[name])
    assert all(re.search(pattern, arn) for arn in listed)
    assert len(",".join(listed)) < 4096  # CloudFormation's limit for the value of a parameter


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"default_model": "claud"}, "claud is no alias"),
        ({"allowed_models": ("nova-lite", "claud")}, "claud is no alias"),
        ({"task_model": "claude-haiku", "region": "ap-south-1"}, "InferenceProfile=global"),
    ],
)
def test_uncallable_model_is_an_error(change: dict[str, str], reason: str) -> None:
    with pytest.raises(UncallableModelError, match=reason):
        arns(replace(DEFAULT, **change))  # type: ignore[arg-type]  # values of several types


def test_allowed_model_that_the_region_lacks_is_left_out() -> None:
    listed = arns(replace(DEFAULT, region="ap-south-1"))
    assert not [arn for arn in listed if "claude" in arn]


def test_command_prints_the_list_of_the_given_parameters(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models.json").write_text(json.dumps({APPLICATION_PROFILE: {"like": "claude-opus"}}), encoding="utf-8")
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(tmp_path))
    given = [f"DefaultModel={APPLICATION_PROFILE}", 'AllowedModels=""', "ModelOverrides=models.json", "LogLevel=DEBUG"]
    assert command.main(["arns", "--region", REGION, "--account", ACCOUNT, *given]) == 0
    printed = capsys.readouterr()
    expected = replace(DEPLOYMENTS["ARNs"], allowed_models=())
    assert printed.out == ",".join(arns(expected)) + "\n"
    assert printed.err == ""


@pytest.mark.parametrize("quoted", ['"{}"', "'{}'", "{}"])
def test_command_reads_quoted_json_as_the_sam_cli_does(capsys: pytest.CaptureFixture[str], quoted: str) -> None:
    text = json.dumps({APPLICATION_PROFILE: {"like": "claude-opus"}})
    value = quoted.replace("{}", text.replace('"', r"\"") if quoted == '"{}"' else text)
    given = [f"DefaultModel={APPLICATION_PROFILE}", "AllowedModels=", f"ModelOverrides={value}"]
    assert command.main(["arns", "--region", REGION, "--account", ACCOUNT, *given]) == 0
    assert "foundation-model/anthropic.claude-opus-5-5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("Modell=x", "template.yaml has no parameter Modell"),
        ("ModelOverrides=missing.json", "ModelOverrides cannot be read"),
        ('ModelOverrides={"claude-opus": {"colour": 1}}', "claude-opus.colour"),
        ("DefaultModel=claud", "claud is no alias"),
    ],
)
def test_command_names_a_wrong_parameter(parameter: str, message: str) -> None:
    assert message in str(command.main(["arns", "--region", REGION, parameter]))
