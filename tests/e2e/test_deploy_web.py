"""`make deploy-web` with a script instead of the AWS CLI."""

import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.stack import ROOT

AWS = """#!/bin/sh
printf '%s\\n' "$*" >>"{calls}"
case "$*" in
  *describe-stacks*WebBucket*) echo the-bucket ;;
  *describe-stacks*Distribution*) echo THEDISTRIBUTION ;;
  *s3*sync*) cp -r "$3" "{uploaded}" ;;
esac
"""


@pytest.mark.xdist_group("deploy-web")  # the tests share a folder
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_the_page_is_uploaded_with_its_configuration(environment: str, tmp_path: Path) -> None:
    calls, uploaded = tmp_path / "calls", tmp_path / "uploaded"
    aws = tmp_path / "aws"
    aws.write_text(AWS.format(calls=calls, uploaded=uploaded))
    aws.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["make", "deploy-web", f"ENV={environment}"]
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, timeout=60)

    stack = tomllib.loads((ROOT / "samconfig.toml").read_text())[environment]["global"]["parameters"]["stack_name"]
    commands = calls.read_text().splitlines()
    assert [f"--stack-name {stack} " in call for call in commands] == [True, True, False, True, False]
    assert commands[2].startswith("s3 sync .aws-sam/web s3://the-bucket --delete --cache-control ")
    assert commands[4] == "cloudfront create-invalidation --distribution-id THEDISTRIBUTION --paths /*"
    assert json.loads((uploaded / "page/config.json").read_text()) == {"functionUrl": "/", "apiUrl": "/"}
    for file in (ROOT / "web/demo").rglob("*"):
        assert (uploaded / "page" / file.relative_to(ROOT / "web/demo")).exists()
