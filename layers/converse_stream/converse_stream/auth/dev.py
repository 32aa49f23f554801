"""Mode `dev`: a header names the user. Works in the local stack only.

The account in the ARN of the function decides where it runs. An environment variable could be set by mistake in an AWS
account, but the ARN cannot.
"""

import re

from aws_lambda_powertools.utilities.typing import LambdaContext

from converse_stream.auth.user import User
from converse_stream.http.request import HttpRequest
from converse_stream.protocol.errors import BadRequest, Unauthenticated

LOCAL_ACCOUNTS = frozenset({"000000000000", "012345678912"})  # local stack; AWS's Runtime Interface Emulator
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")


def identify(request: HttpRequest, context: LambdaContext) -> User:
    """The user in `X-Dev-User`, else `local`. Raises Unauthenticated in AWS, and BadRequest for an invalid name."""
    account = context.invoked_function_arn.split(":")[4:5]
    if not LOCAL_ACCOUNTS.issuperset(account) or not account:
        raise Unauthenticated
    name = request.headers.get("x-dev-user", "local")
    if not _NAME.fullmatch(name):
        raise BadRequest("X-Dev-User has characters that are not allowed.", field="x-dev-user")
    return User.of("dev", "laptop", name)
