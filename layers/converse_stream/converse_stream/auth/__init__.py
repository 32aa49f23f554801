"""Who is asking: one code path for both functions, with one of three modes behind it."""

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
    """How callers are known in the mode of the settings. It raises Unauthenticated, the same for every reason."""
    identify, behind_web_host = _identify(settings), bool(settings.origin_secret)

    def authenticate(request: HttpRequest, context: LambdaContext) -> User:
        known, address = identify(request, context), hash_address(request.address(behind_web_host=behind_web_host))
        return replace(known, address=address, bedrock_key=request.bedrock_key())

    return authenticate


def _identify(settings: Settings) -> Authenticate:
    match settings.auth_mode:
        case "dev":
            return dev.identify
        case "iam":
            return iam.identify
        case "jwt":
            # Here, because other modes need not pay for the import; now, because a request should not.
            from converse_stream.auth.jwks import IssuerKeys
            from converse_stream.auth.jwt import TokenVerifier

            keys = IssuerKeys(settings.jwt_issuer, settings.jwks_url)
            return TokenVerifier(settings.jwt_issuer, settings.jwt_audience, settings.algorithms, keys.find).identify
