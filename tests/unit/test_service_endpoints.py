"""The endpoints, credentials and proxies of our own clients, as the environment sets them."""

from unittest import mock

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import NoRegionError

from converse_stream.aws.credentials import EnvironmentCredentials, find_credentials
from converse_stream.aws.service import Service


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def url_of(name: str) -> str:
    service = Service(name, connect_seconds=1, read_seconds=1)
    service.close()
    return service.url


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"AWS_REGION": "eu-west-1"}, "https://dynamodb.eu-west-1.amazonaws.com"),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, "https://dynamodb.eu-west-1.amazonaws.com"),
        ({"AWS_REGION": "us-gov-west-1"}, "https://dynamodb.us-gov-west-1.amazonaws.com"),
        ({"AWS_REGION": "cn-north-1"}, "https://dynamodb.cn-north-1.amazonaws.com.cn"),
        (
            {"AWS_REGION": "us-east-1", "AWS_USE_FIPS_ENDPOINT": "true"},
            "https://dynamodb-fips.us-east-1.amazonaws.com",
        ),
        ({"AWS_REGION": "us-east-1", "AWS_USE_DUALSTACK_ENDPOINT": "true"}, "https://dynamodb.us-east-1.api.aws"),
        ({"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "http://all:1"}, "http://all:1"),
        (
            {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "http://all:1", "AWS_ENDPOINT_URL_DYNAMODB": "http://t:2"},
            "http://t:2",
        ),
    ],
)
def test_endpoint_is_that_of_the_environment(
    variables: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert url_of("dynamodb") == url


def test_service_without_a_region_is_an_error() -> None:
    with pytest.raises(NoRegionError):
        url_of("dynamodb")


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "proxy"),
        ({"https_proxy": "http://proxy:3128", "NO_PROXY": "169.254.169.254"}, "proxy"),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".amazonaws.com"}, None),
        ({"HTTP_PROXY": "http://proxy:3128"}, None),
    ],
)
def test_requests_go_through_the_proxy_of_the_environment(
    variables: dict[str, str], proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"AWS_REGION": "us-east-1", **variables}.items():
        monkeypatch.setenv(name, value)
    service = Service("dynamodb", connect_seconds=1, read_seconds=1)
    service.close()
    assert (service.pool.proxy.host if service.pool.proxy else None) == proxy


def test_credentials_of_the_environment_are_used_without_botocore() -> None:
    assert find_credentials() == EnvironmentCredentials("key", "secret", None)


def test_other_credentials_are_found_by_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    """For example those of a container, which expire."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    found = Credentials("key", "secret")
    monkeypatch.setattr("converse_stream.aws.credentials.session", lambda: mock.Mock(get_credentials=lambda: found))
    assert find_credentials() is found
