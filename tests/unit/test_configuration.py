"""Where ModelOverrides is read from: the parameter itself, an SSM parameter, or a file of the function."""

from pathlib import Path
from unittest import mock

import boto3
import pytest
from botocore.stub import Stubber

from converse_stream.aws import clients
from converse_stream.aws.configuration import read

ARN = "arn:aws:ssm:eu-west-1:123456789012:parameter/chat/models"


def test_json_is_the_text_itself() -> None:
    assert read(' {"a.b": {}}') == ' {"a.b": {}}'


@pytest.mark.parametrize("name", ["/chat/models", ARN])
def test_path_or_arn_is_an_ssm_parameter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = boto3.client("ssm", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as ssm:
        ssm.add_response("get_parameter", {"Parameter": {"Value": "{}"}}, {"Name": name, "WithDecryption": True})
        session = mock.Mock(create_client=lambda service: {"ssm": client}[service])
        monkeypatch.setattr(clients, "session", lambda: session)
        assert read(name) == "{}"
        ssm.assert_no_pending_responses()


def test_other_name_is_a_file_of_the_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(tmp_path))
    (tmp_path / "models.json").write_text('{"a.b": {"title": "Grüße"}}', encoding="utf-8")
    assert "Grüße" in read("models.json")
    with pytest.raises(FileNotFoundError):
        read("missing.json")
