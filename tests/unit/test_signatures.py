"""Signatures equal those of botocore, for any path, header and body."""

from datetime import UTC, datetime
from unittest import mock
from urllib.parse import quote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from converse_stream.aws.credentials import EnvironmentCredentials
from converse_stream.aws.signatures import Signer

HOST = "bedrock-runtime.eu-west-1.amazonaws.com"
AT = datetime(2026, 12, 1, 12, 30, 15, tzinfo=UTC)
SIGNER = Signer("bedrock", "eu-west-1")


@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=100),
    st.sampled_from([None, "token"]),
    st.binary(max_size=100),
)
@example("arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc", "token", b"{}")
@example("us.amazon.nova-lite-v1:0", None, b"")
def test_signature_equals_that_of_botocore(model: str, token: str | None, body: bytes) -> None:
    path = f"/model/{quote(model, safe='')}/converse-stream"
    headers = {"host": HOST, "content-type": "application/json"}
    ours = SIGNER.signed(path, headers, body, EnvironmentCredentials("key", "secret", token), AT.timestamp())
    request = AWSRequest("POST", f"https://{HOST}{path}", headers={"content-type": "application/json"}, data=body)
    with mock.patch("botocore.auth.get_current_datetime", return_value=AT):
        SigV4Auth(Credentials("key", "secret", token), "bedrock", "eu-west-1").add_auth(request)
    assert ours["authorization"] == request.headers["Authorization"]
    assert ours["x-amz-date"] == request.headers["X-Amz-Date"]
    assert ours.get("x-amz-security-token") == token


def test_signature_of_the_next_day_and_of_other_credentials_has_another_key() -> None:
    signatures = {
        SIGNER.signed("/", {"host": HOST}, b"", EnvironmentCredentials("key", secret, None), at)["authorization"]
        for secret in ("one", "two")
        for at in (AT.timestamp(), AT.timestamp() + 86_400)
    }
    assert len(signatures) == 4
