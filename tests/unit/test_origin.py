"""The functions refuse requests without the origin secret, which only the web host (CloudFront) sends."""

import pytest

from converse_stream.http.request import HttpRequest, check_origin
from converse_stream.protocol.errors import Forbidden
from converse_stream.settings import Settings

SECRET = "0123456789abcdef0123456789abcdef"


def check(secret: str, headers: dict[str, str]) -> None:
    event = {"rawPath": "/health", "requestContext": {"http": {"method": "GET"}}, "headers": headers}
    settings = Settings(table_name="chat", auth_mode="iam", url_auth_type="AWS_IAM", origin_secret=secret)
    check_origin(HttpRequest.from_event(event), settings)


@pytest.mark.parametrize("headers", [{}, {"x-origin-secret": "anything"}], ids=["without", "with"])
def test_without_a_configured_secret_every_request_is_accepted(headers: dict[str, str]) -> None:
    check("", headers)


def test_request_with_the_secret_is_accepted() -> None:
    check(SECRET, {"X-Origin-Secret": SECRET})


@pytest.mark.parametrize(
    "header", [None, "", SECRET[:-1], SECRET + "0", SECRET.upper(), f"{SECRET},{SECRET}", "\ud83d"]
)
def test_request_with_another_secret_is_forbidden(header: str | None) -> None:
    with pytest.raises(Forbidden):
        check(SECRET, {} if header is None else {"x-origin-secret": header})


def test_secret_is_not_in_the_repr_of_the_settings() -> None:
    settings = Settings(table_name="chat", auth_mode="iam", url_auth_type="AWS_IAM", origin_secret=SECRET)
    assert SECRET not in repr(settings)
