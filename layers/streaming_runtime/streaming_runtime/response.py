"""What a handler returns to stream, checked where it is made, and the one way to read a body."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

# RFC 9110, 5.1 and 5.5: a token, and a value that cannot end its line.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

# Lambda writes these itself and may refuse an answer that brings its own.
_NOT_OURS = {"connection", "content-length", "date", "transfer-encoding"}

logger = logging.getLogger("streaming_runtime")


@dataclass(frozen=True, slots=True, eq=False)
class StreamingResponse:
    """An HTTP answer whose body is sent chunk by chunk, as it is made.

    `body` yields bytes and is closed in every case; `headers` holds one string a name; `cookies` are whole
    Set-Cookie values; `after` callables run once the client has its last byte, for at most 5 s together;
    `buffered` sends the answer in one piece. Raises TypeError or ValueError for what HTTP cannot carry.
    """

    body: Iterable[bytes]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Sequence[str] = ()
    after: Sequence[Callable[[], object]] = ()
    buffered: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.body, bytes | bytearray | memoryview | str) or not isinstance(self.body, Iterable):
            raise TypeError(f"body must be an iterable of bytes chunks, not {type(self.body).__name__}")
        if not isinstance(self.status, int) or not 200 <= self.status <= 599:
            raise ValueError(f"status must be a number from 200 to 599, not {self.status!r}")
        for name, value in self.headers.items():
            _check_header(name, value)
        if isinstance(self.cookies, str):
            raise TypeError("cookies must be a list of Set-Cookie values, not one string")
        for cookie in self.cookies:
            _check_header("set-cookie", cookie)
        for work in self.after:
            if not callable(work):
                raise TypeError(f"after takes callables, not {type(work).__name__}")


def _check_header(name: str, value: str) -> None:
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(f"a header is two strings, not {name!r}: {value!r}")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no header name")
    if name.lower() in _NOT_OURS:
        raise ValueError(f"the header {name} is Lambda's to set")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"the header {name} holds a character that HTTP does not allow")


@contextmanager
def opened(body: Iterable[bytes]) -> Iterator[Iterator[bytes]]:
    """The body's chunks without the empty ones; on leaving, the body is closed, even when it was never started.

    The chunks raise what the body raises, and TypeError for one that is not bytes.
    """
    with ExitStack() as closing:
        closing.callback(_close, body)
        yield _chunks(body, closing)


def _chunks(body: Iterable[bytes], closing: ExitStack) -> Iterator[bytes]:
    iterator = iter(body)
    if iterator is not body:  # an object whose __iter__ is a generator function: that generator is to be closed too
        closing.callback(_close, iterator)
    for chunk in iterator:
        if not isinstance(chunk, bytes):
            raise TypeError(f"a body must yield bytes, not {type(chunk).__name__}")
        if chunk:
            yield chunk


def _close(closeable: object) -> None:
    close = getattr(closeable, "close", None)
    if close is None:
        return
    try:
        close()
    except Exception:  # a `finally` that fails, or a generator that yields once more
        logger.exception("closing the body failed")
