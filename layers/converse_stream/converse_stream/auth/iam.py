"""Mode `iam`: the entry point has verified the signature (SigV4), and the event has the identity.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids lists the prefixes
of ids. IAM users and role sessions are accepted. Services, root and federated users are refused.
"""

import re

from aws_lambda_powertools.utilities.typing import LambdaContext

from converse_stream.auth.user import User
from converse_stream.http.request import HttpRequest
from converse_stream.protocol.errors import Unauthenticated

_ACCOUNT = re.compile(r"[0-9]{12}")
_USER_OR_SESSION = re.compile(r"AIDA[A-Z0-9]+|AROA[A-Z0-9]+:(?P<session>[\w+=,.@-]{2,64})", re.ASCII)
# All users of a Cognito identity pool have this session name, and a Function URL does not tell them apart.
SHARED_SESSION = "CognitoIdentityCredentials"


def identify(request: HttpRequest, _: LambdaContext) -> User:
    """The user with this account and user id; a role session has its session name in the id. Raises Unauthenticated."""
    context = request.context
    identity = context.get("identity") if request.is_rest else (context.get("authorizer") or {}).get("iam")
    if not isinstance(identity, dict) or identity.get("cognitoIdentity") or identity.get("cognitoIdentityId"):
        raise Unauthenticated
    account, user_id = identity.get("accountId"), identity.get("user" if request.is_rest else "userId")
    if not isinstance(account, str) or not _ACCOUNT.fullmatch(account) or not isinstance(user_id, str):
        raise Unauthenticated
    match = _USER_OR_SESSION.fullmatch(user_id)
    if match is None or match["session"] == SHARED_SESSION:
        raise Unauthenticated
    return User.of("iam", account, user_id)
