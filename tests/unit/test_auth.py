"""Authentication at each entry point, and user keys that never collide."""

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


def test_function_url_and_http_api_identify_the_same_user() -> None:
    caller = {"accountId": "111122223333", "userId": "AIDAEXAMPLE", "cognitoIdentity": None}
    assert IAM(url(**caller), Context("111122223333")) == User.of("iam", "111122223333", "AIDAEXAMPLE")


def test_rest_api_identifies_the_same_user() -> None:
    rest = request({"identity": {"accountId": "111122223333", "user": "AIDAEXAMPLE"}}, is_rest=True)
    assert IAM(rest, Context("111122223333")) == User.of("iam", "111122223333", "AIDAEXAMPLE")


def test_role_sessions_with_different_names_are_different_users() -> None:
    """The caller of AssumeRole chooses the session name: a server needs a fixed one, people get theirs at login."""
    sessions = [url(accountId="111122223333", userId=f"AROAEXAMPLE:{name}") for name in ("billing", "ada@example.com")]
    billing, ada = (IAM(session, Context("111122223333")) for session in sessions)
    assert billing == User.of("iam", "111122223333", "AROAEXAMPLE:billing")
    assert billing != ada


@pytest.mark.parametrize(
    "caller",
    [
        request({}),
        request({"authorizer": None}),
        request({"authorizer": {"iam": "a string"}}),
        url(),
        url(accountId="111122223333"),
        url(userId="AIDAEXAMPLE"),
        url(accountId="1111", userId="AIDAEXAMPLE"),
        url(accountId="111122223333", userId=""),
        url(accountId="111122223333", userId="cloudfront.amazonaws.com"),
        url(accountId="111122223333", userId="AROAEXAMPLE:web", cognitoIdentity={"identityId": "us-east-1:1"}),
        url(
            accountId="111122223333", userId="AROAEXAMPLE:CognitoIdentityCredentials"
        ),  # Cognito: a function URL names no user
        url(accountId="111122223333", userId="AROAEXAMPLE"),
        url(accountId="111122223333", userId="111122223333"),  # root
        url(accountId="111122223333", userId="111122223333:federated"),
        url(accountId="111122223333", userId="AIDAEXAMPLE\n"),
        request({}, {"x-dev-user": "alice"}),
    ],
)
def test_request_without_a_single_caller_is_unauthenticated(caller: HttpRequest) -> None:
    with pytest.raises(Unauthenticated):
        IAM(caller, Context("111122223333"))


@pytest.mark.parametrize("account", ["000000000000", "012345678912"])
def test_dev_mode_works_with_the_accounts_of_local_emulators(account: str) -> None:
    alice = DEV(request({}, {"x-dev-user": "alice"}), Context(account))
    local = DEV(request({}), Context(account))
    assert alice != local
    assert local == User.of("dev", "laptop", "local")


@pytest.mark.parametrize("account", ["111122223333", "", "0000000000000"])
def test_dev_mode_is_refused_in_a_real_account(account: str) -> None:
    with pytest.raises(Unauthenticated):
        DEV(request({}), Context(account))


def test_dev_user_name_with_other_characters_is_refused() -> None:
    with pytest.raises(BadRequest):
        DEV(request({}, {"x-dev-user": "a#b"}), Context("000000000000"))


@given(st.tuples(st.text(), st.text(), st.text()), st.tuples(st.text(), st.text(), st.text()))
def test_different_identities_have_different_keys(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (User.of(*one) == User.of(*other)) == (one == other)
    assert User.of(*one).key.replace("-", "").replace("_", "").isalnum()


def test_moving_a_character_between_fields_changes_the_key() -> None:
    assert User.of("iam", "ab", "c") != User.of("iam", "a", "bc")
