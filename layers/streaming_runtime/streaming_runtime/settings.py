"""The settings of the runtime, from the function's environment variables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from .caller import Caller, streaming_callers


@dataclass(frozen=True, slots=True)
class Settings:
    """`streaming`: the callers that read a stream. `deadline_seconds`: how long before the function's time-out a
    response that is not complete is ended; 0 means never. `empty_no_content`: responses with status 204 and 304 are
    sent without a byte.
    """

    streaming: frozenset[Caller] = field(default_factory=lambda: streaming_callers({}))
    deadline_seconds: float = 1.0
    empty_no_content: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Raises ValueError for a number that is none."""
        name = "STREAMING_RUNTIME_DEADLINE_SECONDS"
        value = environ.get(name) or str(cls().deadline_seconds)
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1
        if not seconds >= 0:
            raise ValueError(f"{name} must be a number of seconds, not {value!r}")
        return cls(streaming_callers(environ), seconds, environ.get("STREAMING_RUNTIME_EMPTY_NO_CONTENT") == "1")
