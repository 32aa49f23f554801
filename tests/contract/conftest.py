"""The template's table on two servers: the local stack's, which is moto with injected faults, and DynamoDB Local.

A test with the fixture `dynamodb` runs on both.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from converse_stream.container import Container
from converse_stream.settings import Settings
from local_stack import template
from local_stack.dynamodb.server import DynamoDB, create_tables_at
from local_stack.identity.certificates import Authority
from tests.contract.chat_user import ChatUser
from tests.contract.dynamodb_local.server import DynamoDBLocal, Endpoint, missing

TABLES = template.read(Path("template.yaml")).tables


@pytest.fixture(scope="module")
def moto() -> Iterator[DynamoDB]:
    server = DynamoDB()
    server.start()
    for properties in TABLES:
        server.create_table(properties)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority with a server certificate for 127.0.0.1."""
    return Authority(tmp_path_factory.mktemp("authority"), ["127.0.0.1"])


@pytest.fixture(scope="session")
def server() -> Iterator[DynamoDBLocal]:
    """A DynamoDB Local process without tables, one for each pytest worker."""
    if reason := missing():
        pytest.skip(reason)
    running = DynamoDBLocal()
    try:
        running.wait()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def dynamodb_local(server: DynamoDBLocal) -> Iterator[DynamoDBLocal]:
    create_tables_at(TABLES, server.url, os.environ | {"AWS_REGION": os.environ["AWS_DEFAULT_REGION"]})
    yield server
    client = boto3.client("dynamodb", endpoint_url=server.url)
    for properties in TABLES:
        client.delete_table(TableName=properties["TableName"])
    client.close()


@pytest.fixture(scope="module", params=["moto", "dynamodb_local"])
def dynamodb(request: pytest.FixtureRequest) -> Endpoint:
    endpoint: Endpoint = request.getfixturevalue(request.param)
    return endpoint


@pytest.fixture
def app(dynamodb: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Container:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url)
    settings = Settings(table_name="ChatTable", auth_mode="dev", url_auth_type="AWS_IAM", inference_profile="us")
    return Container(settings)


@pytest.fixture
def chat_user(app: Container) -> ChatUser:
    return ChatUser(app)
