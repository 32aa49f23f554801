"""The endpoints, credentials and proxies of our own clients, as the environment sets them."""

import socket
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from itertools import product
from unittest import mock

import botocore.session
import pytest
from botocore.credentials import Credentials
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import ConnectionClosedError, NoRegionError
from urllib3 import HTTPResponse

from converse_stream.aws.credentials import EnvironmentCredentials, find_credentials
from converse_stream.aws.service import Service, client_error


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_DYNAMODB",
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
        "AWS_REGION",
        "NO_PROXY",
    ):
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


@pytest.mark.parametrize("name", ["dynamodb", "bedrock-runtime", "lambda", "ssm"])
def test_endpoints_equal_those_of_botocore_in_all_public_regions(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = botocore.session.get_session().get_component("data_loader")
    partitions = loader.load_data("partitions")
    provider = EndpointProvider(loader.load_service_model(name, "endpoint-rule-set-1"), partitions)
    regions = [
        region
        for partition in partitions["partitions"]
        for region in partition["regions"]
        if "-iso" not in partition["id"] and not region.endswith("global")
    ]
    assert {"us-east-1", "us-gov-west-1", "cn-north-1", "eusc-de-east-1"} <= set(regions)
    ours, expected = {}, {}
    for region, (fips, dual_stack) in product(regions, [(False, False), (True, False), (False, True)]):
        monkeypatch.setenv("AWS_REGION", region)
        monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", str(fips).lower())
        monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", str(dual_stack).lower())
        ours[region, fips, dual_stack] = url_of(name)
        endpoint = provider.resolve_endpoint(Region=region, UseFIPS=fips, UseDualStack=dual_stack)
        expected[region, fips, dual_stack] = endpoint.url
    assert ours == expected


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


@pytest.mark.parametrize(
    ("proxy", "url", "line", "authorization"),
    [
        ("http://{}", "", "CONNECT dynamodb.us-east-1.amazonaws.com:443 ", None),
        ("{}", "", "CONNECT dynamodb.us-east-1.amazonaws.com:443 ", None),  # as curl, boto3 and others accept it
        ("http://user:p%40ss@{}", "", "CONNECT dynamodb.us-east-1.amazonaws.com:443 ", "user:p@ss"),
        ("http://user:p%40ss@{}", "http://table.test:8000", "POST http://table.test:8000/ ", "user:p@ss"),
    ],
)
def test_proxy_gets_the_address_of_the_server_and_the_password(
    proxy: str, url: str, line: str, authorization: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as executor:
        server.settimeout(5)
        address = proxy.format(f"127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("HTTP_PROXY", address)
        monkeypatch.setenv("HTTPS_PROXY", address)
        received = executor.submit(_refuse, server)
        with suppress(ConnectionClosedError):  # the tunnel is refused
            Service("dynamodb", connect_seconds=5, read_seconds=5, url=url).post("/", {}, b"")
        head = received.result().split("\r\n")
    assert head[0].startswith(line)
    headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in head[1:])}
    expected = f"Basic {b64encode(authorization.encode()).decode()}" if authorization else None
    assert headers.get("proxy-authorization") == expected


def _refuse(server: socket.socket) -> str:
    """Answers one request to a proxy with status 407, and returns its head."""
    connection, _ = server.accept()
    with connection:
        connection.settimeout(5)
        head = b""
        while b"\r\n\r\n" not in head and (piece := connection.recv(4096)):
            head += piece
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    return head.decode()


@pytest.mark.parametrize(
    "body",
    [b'{"message": null}', b'{"Message": 5}', b'{"Error": "no"}', b'{"Error": {}}', b"[]", b"<html>", b"\xff", b""],
)
def test_error_of_another_program_is_a_client_error_with_its_status(body: bytes) -> None:
    """For example of a proxy or a firewall."""
    error = client_error("GetItem", HTTPResponse(BytesIO(body), status=502))
    assert error.response["Error"]["Code"] == "502"
    assert isinstance(error.response["Error"]["Message"], str)


def test_credentials_of_the_environment_are_used_without_botocore() -> None:
    assert find_credentials() == EnvironmentCredentials("key", "secret", None)


def test_other_credentials_are_found_by_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    """For example those of a container, which expire."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    found = Credentials("key", "secret")
    monkeypatch.setattr("converse_stream.aws.credentials.session", lambda: mock.Mock(get_credentials=lambda: found))
    assert find_credentials() is found
