"""Reads a configuration that may be too long for an environment variable. Lambda allows 4 KB for all of them."""

import os
from pathlib import Path


def read(source: str) -> str:
    """The text of a source: the source itself if it is JSON, an SSM parameter (its path or ARN), or a file.

    A file is in the folder of the function. Raises OSError, and the errors of botocore.
    """
    if source.lstrip().startswith("{"):
        return source
    if source.startswith(("/", "arn:")):
        from converse_stream.aws import clients  # most deployments do not need a client here

        parameter = clients.session().create_client("ssm").get_parameter(Name=source, WithDecryption=True)
        return str(parameter["Parameter"]["Value"])
    return Path(os.environ.get("LAMBDA_TASK_ROOT", "."), source).read_text(encoding="utf-8")
