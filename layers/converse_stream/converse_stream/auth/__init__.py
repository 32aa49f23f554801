"""Authentication: the user of a request, in one of three modes."""

from collections.abc import Callable
from dataclasses import replace

from aws_lambda_powertools.utilities.typing import LambdaContext

from converse_stream.auth import dev, iam
from converse_stream.auth.user import ANONYMOUS, User, hash_address
from converse_stream.http.request import HttpRequest
from converse_stream.settings import Settings

__all__ = ["ANONYMOUS", "Authenticate", "User", "authenticator"]

Authenticate = Callable[[HttpRequest, LambdaContext], User]


def authenticator(settings: Settings) -> Authenticate:
    """Returns the function that authenticates requests in the mode of the settings.

    It raises Unauthenticated, with the same response for every reason, and BadRequest.
    """
    identify, behind_web_host = _identify(settings), bool(settings.origin_secret)

    def authenticate(request: HttpRequest, context: LambdaContext) -> User:
        user = identify(request, context)
        address = hash_address(request.address(behind_web_host=behind_web_host))
        return replace(user, address=address, bedrock_key=request.bedrock_key())

    return authenticate


def _identify(settings: Settings) -> Authenticate:
    match settings.auth_mode:
        case "dev":
            return dev.identify
        case "iam":
            return iam.identify
        case "jwt":
            # Imported here because other modes do not need it, and at init so that no request waits for the import.
            from converse_stream.auth.jwks import IssuerKeys
            from converse_stream.auth.jwt import TokenVerifier

            keys = IssuerKeys(settings.jwt_issuer, settings.jwks_url)
            return TokenVerifier(settings.jwt_issuer, settings.jwt_audience, settings.algorithms, keys.find).identify
