"""Decodes `application/vnd.amazon.eventstream`. Pure: bytes in, messages out.

https://smithy.io/2.0/aws/amazon-eventstream.html: a prelude (the length of the message and of its headers, a checksum),
the headers, the payload, a checksum.
"""

import struct
from collections.abc import Iterator
from zlib import crc32

MAX_LENGTH = 24 * 1024 * 1024  # bytes of a message, as in the specification
MIN_LENGTH = 16  # without headers and payload

_PRELUDE = struct.Struct("!III")
_FIXED_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # bytes of a header's value, by its type
_STRING, _BYTES = 7, 6


class CorruptStream(Exception):
    """A checksum or a length is wrong."""


class EventStreamDecoder:
    """Decodes one stream. It remembers the headers, because almost all messages of a stream have the same ones."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._known: dict[bytes, dict[str, str]] = {}

    def feed(self, data: bytes) -> Iterator[tuple[dict[str, str], bytes]]:
        """The headers of type string, and the payload, of each message that is complete now. Raises CorruptStream."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= 12:
            length, headers_length, checksum = _PRELUDE.unpack_from(buffer)
            if crc32(buffer[:8]) != checksum or not MIN_LENGTH + headers_length <= length <= MAX_LENGTH:
                raise CorruptStream
            if len(buffer) < length:
                return
            message = bytes(buffer[:length])
            del buffer[:length]
            if crc32(message[:-4]) != int.from_bytes(message[-4:], "big"):
                raise CorruptStream
            raw = message[12 : 12 + headers_length]
            headers = self._known.get(raw)
            if headers is None:
                headers = self._known[raw] = _headers(raw)
            yield headers, message[12 + headers_length : -4]


def _headers(raw: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    position = 0
    try:
        while position < len(raw):
            end = position + 1 + raw[position]
            name, kind = raw[position + 1 : end].decode(), raw[end]
            position = end + 1
            if kind in (_STRING, _BYTES):
                size = int.from_bytes(raw[position : position + 2], "big")
                position += 2
            else:
                size = _FIXED_SIZES[kind]
            value = raw[position : position + size]
            position += size
            if kind == _STRING:
                headers[name] = value.decode()
    except (IndexError, KeyError, UnicodeDecodeError):
        raise CorruptStream from None
    if position != len(raw):
        raise CorruptStream
    return headers
