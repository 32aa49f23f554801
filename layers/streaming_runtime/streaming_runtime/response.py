"""The streaming response of a handler, validated when it is created, and the reading of its body."""

import logging
import re
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

from . import framing
from .incompatible import check_callers
from .logs import log

# RFC 9110, 5.1 and 5.5: a token, and a value that cannot end its line.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

# The limit of Lambda for a response in one piece.
WHOLE_LIMIT = 6 * 1024 * 1024

# Lambda sets these, and may refuse a response that has them.
_RESERVED = {"connection", "content-length", "date", "transfer-encoding"}

# These end the process, as they do without this package. All other exceptions of a body are answered.
ENDS_PROCESS = (SystemExit, KeyboardInterrupt)


class ResponseTooLarge(Exception):
    """A response in one piece has more than 6 MB."""

    def __init__(self) -> None:
        super().__init__(f"a response in one piece may have {WHOLE_LIMIT} bytes")


@dataclass(frozen=True, slots=True, eq=False)
class StreamingResponse:
    """An HTTP response whose body is sent chunk by chunk, as it is produced.

    `body` yields bytes, and is always closed. `headers` has one string for each name. `cookies` are complete Set-Cookie
    values. The `after` callables run after the last byte is sent, for at most 5 s together. With `buffered`, the
    response is sent in one piece. With `raw`, a caller whose event is no HTTP event gets the body alone, as a stream,
    and errors as errors of the invocation; without it, such a caller gets an object in one piece.

    Headers, cookies and `after` are copied. Raises TypeError or ValueError for values that HTTP or Lambda do not allow.
    """

    body: Iterable[bytes]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Sequence[str] = ()
    after: Sequence[Callable[[], object]] = ()
    buffered: bool = False
    raw: bool = False

    def __post_init__(self) -> None:
        check_callers()
        if isinstance(self.body, AsyncIterable):
            raise TypeError(
                "an async body needs an adapter: StreamingResponse(iterate(body)), with `iterate` from "
                "streaming_runtime.asynchronous"
            )
        if isinstance(self.body, bytes | bytearray | memoryview | str) or not isinstance(self.body, Iterable):
            raise TypeError(f"body must be an iterable of bytes chunks, not {type(self.body).__name__}")
        if not isinstance(self.status, int) or not 200 <= self.status <= 599:
            raise ValueError(f"status must be a number from 200 to 599, not {self.status!r}")
        if isinstance(self.cookies, str):
            raise TypeError("cookies must be a list of Set-Cookie values, not one string")
        headers = dict(self.headers)
        object.__setattr__(self, "headers", MappingProxyType(headers))  # the class is frozen
        object.__setattr__(self, "cookies", tuple(self.cookies))
        object.__setattr__(self, "after", tuple(self.after))
        names: set[str] = set()
        for name, value in headers.items():
            _check_header(name, value)
            if name.lower() in names:
                raise ValueError(f"the header {name} is there twice, in different cases")
            names.add(name.lower())
        for cookie in self.cookies:
            _check_header("set-cookie", cookie)
        for work in self.after:
            if not callable(work):
                raise TypeError(f"after takes callables, not {type(work).__name__}")
        cookies = {"multiValueHeaders": {"set-cookie": self.cookies}} if self.cookies else {}
        # Checks the size of the longest form.
        framing.prelude_data({"statusCode": self.status, "headers": headers, **cookies})


def _check_header(name: str, value: str) -> None:
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(f"a header is two strings, not {name!r}: {value!r}")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no header name")
    if name.lower() in _RESERVED:
        raise ValueError(f"the header {name} is Lambda's to set")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"the header {name} holds a character that HTTP does not allow")


@contextmanager
def open_body(body: Iterable[bytes]) -> Iterator[Iterator[bytes]]:
    """The chunks of the body, without empty ones. When the context ends, the body is closed, also if it was not read.

    Iteration raises the exceptions of the body, and TypeError for a chunk that is not bytes.
    """
    with ExitStack() as closing:
        closing.callback(_close, body)
        yield _chunks(body, closing)


def read_whole(response: StreamingResponse) -> bytes:
    """The whole body. Raises the exceptions of the body, and ResponseTooLarge as soon as there is too much."""
    with open_body(response.body) as chunks:
        return join(chunks)


def join(chunks: Iterable[bytes]) -> bytes:
    """All chunks in one. Raises ResponseTooLarge as soon as there are too many."""
    data = bytearray()
    for chunk in chunks:
        data += chunk
        check_size(data)
    return bytes(data)


def check_size(data: object) -> None:
    """Raises ResponseTooLarge for bytes that Lambda does not accept in one piece."""
    if isinstance(data, bytes | bytearray) and len(data) > WHOLE_LIMIT:
        raise ResponseTooLarge


def _chunks(body: Iterable[bytes], closing: ExitStack) -> Iterator[bytes]:
    iterator = iter(body)
    if iterator is not body:  # if __iter__ is a generator function, its generator must be closed too
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
    except ENDS_PROCESS:
        raise
    except BaseException as error:  # for example a `finally` that fails, or a generator that yields again
        log(logging.ERROR, "closing the body failed", error=error)
