"""Mode `iam`: the door has checked a signature and tells us whose it was.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids lists the prefixes
of ids. Only IAM users and sessions of roles are somebody; services, root and federated users are refused.
"""

import re

from aws_lambda_powertools.utilities.typing import LambdaContext

from converse_stream.auth.user import User
from converse_stream.http.request import HttpRequest
from converse_stream.protocol.errors import Unauthenticated

_ACCOUNT = re.compile(r"[0-9]{12}")
_USER_OR_SESSION = re.compile(r"AIDA[A-Z0-9]+|AROA[A-Z0-9]+:(?P<session>[\w+=,.@-]{2,64})", re.ASCII)
# Cognito gives all the users of an identity pool one session name, and a Function URL does not say who is behind it.
SHARED_SESSION = "CognitoIdentityCredentials"


def identify(request: HttpRequest, _: LambdaContext) -> User:
    """The caller's account and user id; of a role's session, with the session's name. Raises Unauthenticated."""
    context = request.context
    identity = context.get("identity") if request.is_rest else (context.get("authorizer") or {}).get("iam")
    if not isinstance(identity, dict) or identity.get("cognitoIdentity") or identity.get("cognitoIdentityId"):
        raise Unauthenticated
    account, user = identity.get("accountId"), identity.get("user" if request.is_rest else "userId")
    if not isinstance(account, str) or not _ACCOUNT.fullmatch(account) or not isinstance(user, str):
        raise Unauthenticated
    known = _USER_OR_SESSION.fullmatch(user)
    if known is None or known["session"] == SHARED_SESSION:
        raise Unauthenticated
    return User.of("iam", account, user)
