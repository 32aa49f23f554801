"""Requests that did not come through the host in front are refused by the functions themselves."""

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
def test_without_a_secret_every_door_is_open(headers: dict[str, str]) -> None:
    check("", headers)


def test_the_secret_opens() -> None:
    check(SECRET, {"X-Origin-Secret": SECRET})


@pytest.mark.parametrize("given", [None, "", SECRET[:-1], SECRET + "0", SECRET.upper(), f"{SECRET},{SECRET}", "\ud83d"])
def test_anything_else_does_not(given: str | None) -> None:
    with pytest.raises(Forbidden):
        check(SECRET, {} if given is None else {"x-origin-secret": given})


def test_settings_do_not_show_it() -> None:
    settings = Settings(table_name="chat", auth_mode="iam", url_auth_type="AWS_IAM", origin_secret=SECRET)
    assert SECRET not in repr(settings)
