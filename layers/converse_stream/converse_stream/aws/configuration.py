"""Configuration that does not fit into environment variables, which have 4 KB together."""

import json
import os
from pathlib import Path

SSM_SECONDS = 2.0  # to connect, and to wait for the response


def read(source: str) -> str:
    """The configuration: JSON itself, the path or ARN of a parameter in SSM's Parameter Store, or the name of a file.

    A file is in the folder of the function. Raises OSError, and the errors of botocore.
    """
    if source.lstrip().startswith("{"):
        return source
    if source.startswith(("/", "arn:")):
        return _parameter(source)
    return Path(os.environ.get("LAMBDA_TASK_ROOT", "."), source).read_text(encoding="utf-8")


def _parameter(name: str) -> str:
    """https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html"""
    from converse_stream.aws.service import Service, client_error, to_json  # most deployments do not need it here

    service = Service("ssm", connect_seconds=SSM_SECONDS, read_seconds=SSM_SECONDS)
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "AmazonSSM.GetParameter"}
    response = service.post("/", headers, to_json({"Name": name, "WithDecryption": True}))
    service.close()
    if response.status != 200:
        raise client_error("GetParameter", response)
    value: str = json.loads(response.data)["Parameter"]["Value"]
    return value
