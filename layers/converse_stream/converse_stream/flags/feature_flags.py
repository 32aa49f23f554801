"""What is switched on for whom: Powertools' feature flags, from AppConfig or from a file.

    streaming    the model is asked to stream; else in one piece, with the same events
    learning     answers are learned from
    memory       answers know the user's facts, and documents
    tools        callers may bring tools
    responder    alias of the model that answers where the request names none

Rules see `user`, the user's key, and `share`, a number from 0 to 99 that stays theirs. A flag that nobody has set, or
not to what it can be, is as in `Switches`.
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
    """One user's flags, and what they are where nobody has set them."""

    streaming: bool = True
    learning: bool = True
    memory: bool = True
    tools: bool = True
    responder: str = ""


DEFAULT_FLAGS = UserFlags()


class FlagProvider:
    """`source` is None where there are none to be looked at."""

    def __init__(self, source: "FeatureFlags | None" = None) -> None:
        self._source = source

    def for_user(self, user: str) -> UserFlags:
        """The user's flags, by their key. Never raises."""
        if self._source is None:
            return DEFAULT_FLAGS
        context = {"user": user, "share": share(user)}
        chosen: dict[str, Any] = {}
        for name, default in asdict(DEFAULT_FLAGS).items():
            value = self._source.evaluate(name=name, context=context, default=default)
            if type(value) is type(default):
                chosen[name] = value
        return replace(DEFAULT_FLAGS, **chosen)

    def confirmed_for(self, user: str) -> UserFlags:
        """The same, for what can wait. Raises FlagsUnknown while there never was a document."""
        if self._source is not None:
            from aws_lambda_powertools.utilities.feature_flags import ConfigurationStoreError

            try:
                self._source.get_configuration()
            except ConfigurationStoreError:
                raise FlagsUnavailable from None
        return self.for_user(user)


def share(user: str) -> int:
    """A number from 0 to 99, the same for this user every time."""
    return int.from_bytes(hashlib.sha256(user.encode()).digest()[:8], "big") % 100


def flags_of(settings: Settings) -> FlagProvider:
    """The flags that the settings name; nothing is asked before the first user comes."""
    if not (settings.flags_file or settings.appconfig_profile):
        return FlagProvider()
    # Here, because few have flags and the import takes its time; now, because a request should not pay for it.
    from converse_stream.flags.appconfig import source

    return FlagProvider(source(settings))
