"""Where ModelOverrides is read from: the parameter itself, an SSM parameter, or a file of the function."""

from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from converse_stream.aws.configuration import read
from tests.wire.scripted_server import Reply, serving

ARN = "arn:aws:ssm:eu-west-1:123456789012:parameter/chat/models"


def test_json_is_the_text_itself() -> None:
    assert read(' {"a.b": {}}') == ' {"a.b": {}}'


@pytest.mark.parametrize("name", ["/chat/models", ARN])
def test_path_or_arn_is_an_ssm_parameter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Reply(body={"Parameter": {"Value": "{}"}})) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", server.url)
        assert read(name) == "{}"
    [(headers, body)] = server.requests
    assert headers["x-amz-target"] == "AmazonSSM.GetParameter"
    request = {"Name": name, "WithDecryption": True}
    assert body == request
    model: Any = botocore.session.get_session().get_service_model("ssm")
    assert not ParamValidator().validate(request, model.operation_model("GetParameter").input_shape).has_errors()


def test_missing_parameter_is_an_error_of_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Reply(400, {"__type": "ParameterNotFound"})) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", server.url)
        with pytest.raises(ClientError, match="ParameterNotFound"):
            read("/chat/models")


def test_other_name_is_a_file_of_the_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(tmp_path))
    (tmp_path / "models.json").write_text('{"a.b": {"title": "Grüße"}}', encoding="utf-8")
    assert "Grüße" in read("models.json")
    with pytest.raises(FileNotFoundError):
        read("missing.json")
