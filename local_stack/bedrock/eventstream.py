"""Frames of vnd.amazon.eventstream, as botocore decodes them (botocore/eventstream.py has no encoder).

    total length | headers length | CRC of these 8 bytes | headers | payload | CRC of all before

Lengths and CRCs are big-endian u32; CRC is zlib's. A header is: name length u8, name, type u8, value; we write
strings only (type 7: length u16, UTF-8).
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
    """One frame. Names are 1 to 255 bytes of UTF-8, values at most 65535; struct.error otherwise."""
    head = b"".join(_header(name.encode(), value.encode()) for name, value in headers.items())
    prelude = _PRELUDE.pack(len(head) + len(payload) + 16, len(head))
    frame = prelude + _CRC.pack(crc32(prelude)) + head + payload
    return frame + _CRC.pack(crc32(frame))


def encode_event(name: str, payload: Mapping[str, Any]) -> bytes:
    """A member of an operation's event stream, such as `contentBlockDelta`."""
    return encode({":event-type": name, ":content-type": "application/json", ":message-type": "event"}, _json(payload))


def encode_exception(name: str, message: str) -> bytes:
    """A modelled exception inside the stream; `name` is the member's, such as `throttlingException`."""
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return encode(headers, _json({"message": message}))


def corrupted(frame: bytes) -> bytes:
    """The frame with a wrong CRC at its end."""
    return frame[:-1] + bytes([frame[-1] ^ 0xFF])


def _header(name: bytes, value: bytes) -> bytes:
    return struct.pack(f"!B{len(name)}sBH", len(name), name, _STRING, len(value)) + value


def _json(value: Mapping[str, Any]) -> bytes:
    # Characters go out as UTF-8, not as \u escapes: then a frame that is split can split a character. A prompt may have
    # half a surrogate pair, which UTF-8 cannot hold.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
