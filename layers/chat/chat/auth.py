"""Who is asking. One code path for both functions.

`iam`: the door has checked a signature and tells us whose it was. `dev`: the laptop only; a context cannot be
configured, an environment variable can, so the account in the function's own ARN decides.
"""

import base64
import hashlib
import ipaddress
import re
from dataclasses import dataclass, field, replace

from aws_lambda_powertools.utilities.typing import LambdaContext

from chat.errors import BadRequest, Unauthenticated
from chat.http import HttpRequest
from chat.settings import Settings

LAPTOP_ACCOUNTS = frozenset({"000000000000", "012345678912"})  # the local stack; AWS's Runtime Interface Emulator
_DEV_USER = re.compile(r"[A-Za-z0-9_.@-]{1,64}")


@dataclass(frozen=True, slots=True)
class User:
    """`key` is safe inside a table key: no raw input enters it, and no other identity can make it."""

    key: str
    address: str = field(default="", compare=False)  # where the request came from, hashed

    @classmethod
    def of(cls, mode: str, issuer: str, subject: str) -> "User":
        """The user with this subject at this issuer."""
        digest = hashlib.sha256()
        for part in (mode, issuer, subject):
            encoded = part.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(4, "big") + encoded)
        return cls(base64.urlsafe_b64encode(digest.digest()).decode().rstrip("="))


def authenticate(request: HttpRequest, context: LambdaContext, settings: Settings) -> User:
    """Raises Unauthenticated, the same for every reason."""
    user = _identify(request, context, settings)
    return replace(user, address=hashed(request.address(behind_host=bool(settings.origin_secret))))


def hashed(address: str) -> str:
    """An IP address as a key; of IPv6 the network alone, because one host has a whole one."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    network = ipaddress.ip_network((ip, 64 if ip.version == 6 else 32), strict=False)
    return base64.urlsafe_b64encode(hashlib.sha256(str(network).encode()).digest()[:18]).decode()


def _identify(request: HttpRequest, context: LambdaContext, settings: Settings) -> User:
    match settings.auth_mode:
        case "dev":
            return _dev(request, context)
        case "iam":
            return _iam(request)
        case "jwt":
            raise Unauthenticated


def _dev(request: HttpRequest, context: LambdaContext) -> User:
    account = context.invoked_function_arn.split(":")[4:5]
    if not LAPTOP_ACCOUNTS.issuperset(account) or not account:
        raise Unauthenticated
    name = request.headers.get("x-dev-user", "local")
    if not _DEV_USER.fullmatch(name):
        raise BadRequest("X-Dev-User has characters that are not allowed.", field="x-dev-user")
    return User.of("dev", "laptop", name)


def _iam(request: HttpRequest) -> User:
    """The caller's account and user id; shared sessions and services are nobody in particular."""
    context = request.context
    identity = context.get("identity") if request.is_rest else (context.get("authorizer") or {}).get("iam")
    if not isinstance(identity, dict):
        raise Unauthenticated
    account, user = identity.get("accountId"), identity.get("user" if request.is_rest else "userId")
    shared = identity.get("cognitoIdentity") or identity.get("cognitoIdentityId")
    if not isinstance(account, str) or not re.fullmatch(r"\d{12}", account):
        raise Unauthenticated
    if not isinstance(user, str) or not user or shared or "amazonaws.com" in user:
        raise Unauthenticated
    return User.of("iam", account, user)
