"""Who gets in by which door, and that nobody can become somebody else."""

from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from hypothesis import given
from hypothesis import strategies as st

from converse_stream.auth import User, authenticator
from converse_stream.http.request import HttpRequest
from converse_stream.protocol.errors import BadRequest, Unauthenticated
from converse_stream.settings import Settings

IAM = authenticator(Settings(table_name="chat", auth_mode="iam", url_auth_type="AWS_IAM"))
DEV = authenticator(Settings(table_name="chat", auth_mode="dev", url_auth_type="AWS_IAM"))


class Context(LambdaContext):
    def __init__(self, account: str) -> None:
        self._invoked_function_arn = f"arn:aws:lambda:us-east-1:{account}:function:StreamFunction"


def request(context: dict[str, Any], headers: dict[str, str] | None = None, *, is_rest: bool = False) -> HttpRequest:
    return HttpRequest("POST", "/chat", {}, headers or {}, "", False, context, is_rest)


def url(**identity: Any) -> HttpRequest:
    return request({"authorizer": {"iam": identity}})


def test_the_url_and_the_http_api_name_the_same_caller() -> None:
    caller = {"accountId": "111122223333", "userId": "AIDAEXAMPLE", "cognitoIdentity": None}
    assert IAM(url(**caller), Context("111122223333")) == User.of("iam", "111122223333", "AIDAEXAMPLE")


def test_the_rest_api_names_the_same_caller_too() -> None:
    rest = request({"identity": {"accountId": "111122223333", "user": "AIDAEXAMPLE"}}, is_rest=True)
    assert IAM(rest, Context("111122223333")) == User.of("iam", "111122223333", "AIDAEXAMPLE")


def test_a_session_is_somebody_by_its_name() -> None:
    """Whoever may assume the role chooses it: a server has to keep to one, people get theirs from a login."""
    sessions = [url(accountId="111122223333", userId=f"AROAEXAMPLE:{name}") for name in ("billing", "ada@example.com")]
    billing, ada = (IAM(each, Context("111122223333")) for each in sessions)
    assert billing == User.of("iam", "111122223333", "AROAEXAMPLE:billing")
    assert billing != ada


@pytest.mark.parametrize(
    "caller",
    [
        request({}),
        request({"authorizer": None}),
        request({"authorizer": {"iam": "somebody"}}),
        url(),
        url(accountId="111122223333"),
        url(userId="AIDAEXAMPLE"),
        url(accountId="1111", userId="AIDAEXAMPLE"),
        url(accountId="111122223333", userId=""),
        url(accountId="111122223333", userId="cloudfront.amazonaws.com"),
        url(accountId="111122223333", userId="AROAEXAMPLE:web", cognitoIdentity={"identityId": "us-east-1:1"}),
        url(accountId="111122223333", userId="AROAEXAMPLE:CognitoIdentityCredentials"),  # all that a URL says of it
        url(accountId="111122223333", userId="AROAEXAMPLE"),
        url(accountId="111122223333", userId="111122223333"),  # root
        url(accountId="111122223333", userId="111122223333:federated"),
        url(accountId="111122223333", userId="AIDAEXAMPLE\n"),
        request({}, {"x-dev-user": "alice"}),
    ],
)
def test_nobody_in_particular_is_refused(caller: HttpRequest) -> None:
    with pytest.raises(Unauthenticated):
        IAM(caller, Context("111122223333"))


@pytest.mark.parametrize("account", ["000000000000", "012345678912"])
def test_dev_mode_works_on_a_laptop(account: str) -> None:
    alice = DEV(request({}, {"x-dev-user": "alice"}), Context(account))
    local = DEV(request({}), Context(account))
    assert alice != local
    assert local == User.of("dev", "laptop", "local")


@pytest.mark.parametrize("account", ["111122223333", "", "0000000000000"])
def test_dev_mode_is_refused_in_an_account(account: str) -> None:
    with pytest.raises(Unauthenticated):
        DEV(request({}), Context(account))


def test_a_dev_user_has_a_bounded_name() -> None:
    with pytest.raises(BadRequest):
        DEV(request({}, {"x-dev-user": "a#b"}), Context("000000000000"))


@given(st.tuples(st.text(), st.text(), st.text()), st.tuples(st.text(), st.text(), st.text()))
def test_no_two_identities_share_a_key(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (User.of(*one) == User.of(*other)) == (one == other)
    assert User.of(*one).key.replace("-", "").replace("_", "").isalnum()


def test_moving_a_letter_between_fields_changes_the_key() -> None:
    assert User.of("iam", "ab", "c") != User.of("iam", "a", "bc")
