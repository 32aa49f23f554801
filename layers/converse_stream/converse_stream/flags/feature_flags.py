"""The feature flags of a user: Powertools' feature flags, from AppConfig or from a file.

    streaming    the model is called with streaming; otherwise it answers in one piece, with the same events
    learning     background tasks learn from answers
    memory       answers use the user's facts, and documents
    tools        requests may have tools
    responder    alias of the model for requests that name none

Rules can use `user`, the key of the user, and `share`, a number from 0 to 99 that never changes for a user. A flag that
is not set, or has a value of the wrong type, has its default of `UserFlags`.
"""

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from converse_stream.protocol.errors import FlagsUnavailable
from converse_stream.settings import Settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.feature_flags import FeatureFlags


@dataclass(frozen=True, slots=True)
class UserFlags:
    """The flags of one user, with their defaults."""

    streaming: bool = True
    learning: bool = True
    memory: bool = True
    tools: bool = True
    responder: str = ""


DEFAULT_FLAGS = UserFlags()


class FlagProvider:
    """Reads the flags of users. `source` is None if the deployment has no flags."""

    def __init__(self, source: "FeatureFlags | None" = None) -> None:
        self._source = source

    def for_user(self, user: str) -> UserFlags:
        """Returns the flags of the user with this key. Never raises."""
        if self._source is None:
            return DEFAULT_FLAGS
        context = {"user": user, "share": share(user)}
        values: dict[str, Any] = {}
        for name, default in asdict(DEFAULT_FLAGS).items():
            value = self._source.evaluate(name=name, context=context, default=default)
            if type(value) is type(default):
                values[name] = value
        return replace(DEFAULT_FLAGS, **values)

    def confirmed_for(self, user: str) -> UserFlags:
        """Like `for_user`, but without defaults for a missing document: raises FlagsUnavailable if none was read yet.

        For background tasks, which can be repeated.
        """
        if self._source is not None:
            from aws_lambda_powertools.utilities.feature_flags import ConfigurationStoreError

            try:
                self._source.get_configuration()
            except ConfigurationStoreError:
                raise FlagsUnavailable from None
        return self.for_user(user)


def share(user: str) -> int:
    """A number from 0 to 99, always the same for one user."""
    return int.from_bytes(hashlib.sha256(user.encode()).digest()[:8], "big") % 100


def flags_of(settings: Settings) -> FlagProvider:
    """Returns the flags of the settings. The first request of AppConfig is made for the first user."""
    if not (settings.flags_file or settings.appconfig_profile):
        return FlagProvider()
    # Imported here because few deployments have flags, and at init so that no request waits for the slow import.
    from converse_stream.flags.appconfig import source

    return FlagProvider(source(settings))
