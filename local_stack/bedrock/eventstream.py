"""Encodes frames of vnd.amazon.eventstream (botocore/eventstream.py has only a decoder).

    total length | headers length | CRC of these 8 bytes | headers | payload | CRC of all bytes before

Lengths and CRCs are big-endian u32. The CRC is zlib's CRC-32. A header is: length of the name u8, name, type u8, value.
We write only strings (type 7: length u16, UTF-8).
"""

import json
import struct
from collections.abc import Mapping
from typing import Any
from zlib import crc32

CONTENT_TYPE = "application/vnd.amazon.eventstream"

_PRELUDE = struct.Struct("!II")
_CRC = struct.Struct("!I")
_STRING = 7


def encode(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Encode one frame. Names have 1 to 255 bytes of UTF-8, values at most 65535. Raises struct.error otherwise."""
    head = b"".join(_header(name.encode(), value.encode()) for name, value in headers.items())
    prelude = _PRELUDE.pack(len(head) + len(payload) + 16, len(head))
    frame = prelude + _CRC.pack(crc32(prelude)) + head + payload
    return frame + _CRC.pack(crc32(frame))


def encode_event(name: str, payload: Mapping[str, Any]) -> bytes:
    """Encode an event, such as `contentBlockDelta`."""
    return encode({":event-type": name, ":content-type": "application/json", ":message-type": "event"}, _json(payload))


def encode_exception(name: str, message: str) -> bytes:
    """Encode an exception in the stream, such as `throttlingException`."""
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return encode(headers, _json({"message": message}))


def corrupted(frame: bytes) -> bytes:
    """Return the frame with a wrong CRC at its end."""
    return frame[:-1] + bytes([frame[-1] ^ 0xFF])


def _header(name: bytes, value: bytes) -> bytes:
    return struct.pack(f"!B{len(name)}sBH", len(name), name, _STRING, len(value)) + value


def _json(value: Mapping[str, Any]) -> bytes:
    # UTF-8 and not \u escapes, so that a split frame can split a character. A prompt may have half a surrogate pair,
    # which UTF-8 cannot encode: it is replaced.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
