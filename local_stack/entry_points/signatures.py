"""Verifies Signature Version 4 at the entry points, for the authentication mode iam.

The keys are test keys of the local stack (docs/auth.md). botocore's signer computes the expected signature.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local_stack.http import Request
from local_stack.template import ACCOUNT, REGION

VALID = timedelta(minutes=5)  # a signature is valid this long before and after its date
DATE = "%Y%m%dT%H%M%SZ"
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,\s]+)/([0-9]{8})/([^/,\s]+)/([^/,\s]+)/aws4_request,\s*"
    r"SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})"
)
CONTENT_HASH = "x-amz-content-sha256"


class Refused(Exception):
    """The request has no valid signature. `error_type` and `message` are those of AWS."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message


@dataclass(frozen=True)
class Identity:
    """The owner of an access key. Only the session of a role has a `session_token`."""

    access_key: str
    secret: str
    user_id: str
    user_arn: str
    session_token: str | None = None


IDENTITIES = {
    each.access_key: each
    for each in (
        Identity("AKIALOCALALICE", "local-alice", "AIDALOCALALICE", f"arn:aws:iam::{ACCOUNT}:user/alice"),
        Identity("AKIALOCALBOB", "local-bob", "AIDALOCALBOB", f"arn:aws:iam::{ACCOUNT}:user/bob"),
        Identity(
            "ASIALOCALSERVER",
            "local-server",
            "AROALOCALROLE:server",
            f"arn:aws:sts::{ACCOUNT}:assumed-role/role/server",
            "local-session",
        ),
    )
}


def signer(request: Request, body: bytes, service: str, now: datetime) -> Identity:
    """Return the owner of the key that signed this request for `service`. Raises Refused.

    The signature's date must be within 5 minutes of `now`.
    """
    match = AUTHORIZATION.fullmatch(request.header("authorization") or "")
    if not match:
        raise Refused("MissingAuthenticationTokenException", "Missing Authentication Token")
    key, day, region, for_service, signed, signature = match.groups()
    identity = IDENTITIES.get(key)
    if identity is None or request.header("x-amz-security-token") != identity.session_token:
        raise Refused("UnrecognizedClientException", "The security token included in the request is invalid.")
    if region != REGION:
        raise Refused("SignatureDoesNotMatch", f"Credential should be scoped to a valid region, not '{region}'.")
    if for_service != service:
        raise Refused("SignatureDoesNotMatch", f"Credential should be scoped to correct service: '{service}'.")
    date = request.header("x-amz-date") or ""
    if not _is_current(date, day, now):
        raise Refused("InvalidSignatureException", f"Signature expired: {date} is not within 5 minutes of {now:{DATE}}")
    names = signed.split(";")
    if not {"host", "x-amz-date"} <= set(names) or not hmac.compare_digest(
        signature, _signature(request, body, identity, service, names)
    ):
        raise Refused(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details.",
        )
    return identity


def _is_current(date: str, day: str, now: datetime) -> bool:
    try:
        signed_at = datetime.strptime(date, DATE).replace(tzinfo=UTC)
    except ValueError:
        return False
    return date.startswith(day) and abs(now - signed_at) <= VALID


def _signature(request: Request, body: bytes, identity: Identity, service: str, names: list[str]) -> str:
    """Compute the signature of the request with the identity's key. The hash is that of the received body."""
    host = request.header("host") or ""
    copy = AWSRequest(request.method, f"http://{host}{request.target}", data=body)
    for name, value in request.headers:
        if name in names:
            copy.headers[name] = hashlib.sha256(body).hexdigest() if name == CONTENT_HASH else value
    copy.context["timestamp"] = request.header("x-amz-date")
    sigv4 = SigV4Auth(Credentials(identity.access_key, identity.secret), service, REGION)
    signature: str = sigv4.signature(sigv4.string_to_sign(copy, sigv4.canonical_request(copy)), copy)
    return signature
