"""The credentials of the function, without botocore where the environment has them."""

import os
from dataclasses import dataclass
from typing import Any, Protocol


class CredentialsSource(Protocol):
    """Credentials that may be renewed, like those of botocore."""

    def get_frozen_credentials(self) -> Any:
        """The valid credentials: an object with `access_key`, `secret_key` and `token`."""


@dataclass(frozen=True, slots=True)
class EnvironmentCredentials:
    """The credentials that Lambda sets in the environment. They are not renewed in an environment."""

    access_key: str
    secret_key: str
    token: str | None

    def get_frozen_credentials(self) -> "EnvironmentCredentials":
        """See CredentialsSource."""
        return self


def find_credentials() -> CredentialsSource | None:
    """The credentials in the environment, else those that botocore finds; None if there are none.

    With SnapStart, and in containers, they come from an endpoint and expire: botocore renews them.
    """
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if key and secret:
        return EnvironmentCredentials(key, secret, os.environ.get("AWS_SESSION_TOKEN"))
    from converse_stream.aws.botocore_session import session  # the import of botocore costs a start

    found: CredentialsSource | None = session().get_credentials()
    return found
