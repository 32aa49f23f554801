"""Compares the catalog with Bedrock, or prints the value of ModelArns for the parameters of a deployment.

PYTHONPATH=layers/converse_stream python -m tools.models compare [--region R]
PYTHONPATH=layers/converse_stream python -m tools.models arns [--region R] [--account A] [Name=value ...]

The exit status of `compare` is 0 if nothing differs. `arns` takes the parameters of template.yaml; those that do not
decide which models are called are ignored.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from converse_stream.aws.configuration import read
from converse_stream.model import catalog, overrides
from tools.models.account import AccountError, listed
from tools.models.arns import Deployment, UncallableModelError, arns, without_known_model
from tools.models.comparison import differences
from tools.reference.template import ROOT, default, parameters


def main(arguments: Sequence[str] | None = None) -> str | int:
    """Run the command. Returns an error message, or the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.models", description="The models of Bedrock.")
    commands = parser.add_subparsers(dest="command", required=True)
    compare_parser = commands.add_parser("compare", help="compare the catalog with an account and a region")
    arns_parser = commands.add_parser("arns", help="print the exact list for the parameter ModelArns")
    for each in (compare_parser, arns_parser):
        each.add_argument("--region", help="default: that of your AWS configuration")
    arns_parser.add_argument("--account", default="*", help="id of the account of the deployment (any)")
    arns_parser.add_argument("parameters", nargs="*", metavar="Name=value", help="parameters of template.yaml")
    given = parser.parse_args(arguments)
    region = given.region or boto3.Session().region_name
    if not region:
        return "No region: name one, or set AWS_REGION."
    return compare(region) if given.command == "compare" else print_arns(region, given.account, given.parameters)


def compare(region: str) -> str | int:
    """Print the differences between the catalog and Bedrock."""
    families = json.loads(Path(catalog.__file__).with_name("catalog.json").read_bytes())["families"]
    try:
        lines = differences(listed(region), families)
    except AccountError as error:
        return str(error)
    print("\n".join(lines) or f"The catalog agrees with Bedrock in {region}.")
    return 1 if lines else 0


def print_arns(region: str, account: str, texts: Sequence[str]) -> str | int:
    """Print the ARNs, separated by commas, as CloudFormation takes them. Remarks are printed to stderr."""
    try:
        deployment = _deployment(region, account, _values(texts))
        found = arns(deployment)
    except (UncallableModelError, ValueError) as error:
        return str(error)
    except (OSError, BotoCoreError, ClientError) as error:
        return f"ModelOverrides cannot be read: {error}"
    print(",".join(found))
    for arn in without_known_model(deployment):
        print(f"Add the foundation model of {arn} to the list; it is not known.", file=sys.stderr)
    return 0


def _values(texts: Sequence[str]) -> Mapping[str, str]:
    """The parameters with their defaults. Raises ValueError for a text that sets no parameter of the template."""
    pairs = [text.partition("=")[::2] for text in texts]
    if unknown := [name for name, _ in pairs if name not in parameters()]:
        raise ValueError(f"template.yaml has no parameter {', '.join(unknown)}")
    return {name: str(default(name)) for name in parameters()} | {name: _unquoted(value) for name, value in pairs}


def _unquoted(value: str) -> str:
    """The value without the quotes that the SAM CLI removes."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return value.replace('\\"', '"')


def _deployment(region: str, account: str, values: Mapping[str, str]) -> Deployment:
    os.environ.setdefault("LAMBDA_TASK_ROOT", str(ROOT / "functions/stream"))  # the folder of a file in ModelOverrides
    source = values["ModelOverrides"]
    return Deployment(
        default_model=values["DefaultModel"],
        task_model=values["TaskModel"],
        allowed_models=tuple(name.strip() for name in values["AllowedModels"].split(",") if name.strip()),
        inference_profile=values["InferenceProfile"],
        region=region,
        account=account,
        partition=boto3.Session().get_partition_for_region(region),
        overrides=overrides.parse(read(source)) if source else {},
    )


if __name__ == "__main__":
    sys.exit(main())
