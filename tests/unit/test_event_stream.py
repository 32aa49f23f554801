"""The decoder of event streams gives what botocore's gives, however the stream is split."""

import struct
from collections.abc import Iterable
from typing import Any
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer, ParserError
from hypothesis import given
from hypothesis import strategies as st

from converse_stream.aws.event_stream import CorruptStream, EventStreamDecoder
from local_stack.bedrock.eventstream import corrupted, encode

NAMES = st.text(st.characters(codec="ascii"), min_size=1, max_size=20)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=50)
MESSAGES = st.lists(st.tuples(st.dictionaries(NAMES, TEXTS), st.binary(max_size=200)), max_size=6)
WRONG_HEADERS = [b"\x05ab", b"\x01a\x0a", b"\x01a\x07\x00\x05ab", b"\x01\xff\x07\x00\x00", b"\x01a\x05xx"]


def decode(chunks: Iterable[bytes]) -> list[tuple[dict[str, str], bytes]]:
    decoder = EventStreamDecoder()
    return [message for chunk in chunks for message in decoder.feed(chunk)]


def decoded_by_botocore(stream: bytes) -> list[tuple[Any, bytes]]:
    buffer = EventStreamBuffer()
    buffer.add_data(stream)
    return [(message.headers, message.payload) for message in buffer]


def split(stream: bytes, data: st.DataObject) -> list[bytes]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@given(MESSAGES, st.data())
def test_stream_in_any_pieces_is_decoded_like_by_botocore(
    messages: list[tuple[dict[str, str], bytes]], data: st.DataObject
) -> None:
    stream = b"".join(encode(headers, payload) for headers, payload in messages)
    assert decode(split(stream, data)) == decoded_by_botocore(stream) == messages


def message_with(headers: bytes, payload: bytes = b"{}") -> bytes:
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack("!I", crc32(prelude)) + headers + payload
    return message + struct.pack("!I", crc32(message))


def test_only_headers_with_text_are_kept() -> None:
    values = [(0, b""), (1, b""), (2, b"x"), (3, b"xx"), (4, b"x" * 4), (5, b"x" * 8), (6, b"\x00\x02xx")]
    values += [(7, b"\x00\x03abc"), (8, b"x" * 8), (9, b"x" * 16)]
    raw = b"".join(b"\x01" + str(kind).encode() + bytes([kind]) + value for kind, value in values)
    assert decode([message_with(raw)]) == [({"7": "abc"}, b"{}")]
    [(headers, _)] = decoded_by_botocore(message_with(raw))
    assert headers.keys() == {str(kind) for kind in range(10)}


@given(st.binary(max_size=200), st.data())
def test_any_bytes_are_refused_or_incomplete(stream: bytes, data: st.DataObject) -> None:
    try:
        decoded = decode(split(stream, data))
    except CorruptStream:
        return
    assert decoded == []


@pytest.mark.parametrize("headers", WRONG_HEADERS)
def test_wrong_headers_are_refused(headers: bytes) -> None:
    with pytest.raises(CorruptStream):
        decode([message_with(headers)])


@given(MESSAGES.filter(bool), st.data())
def test_changed_bit_is_found(messages: list[tuple[dict[str, str], bytes]], data: st.DataObject) -> None:
    stream = bytearray(b"".join(encode(headers, payload) for headers, payload in messages))
    position = data.draw(st.integers(0, len(stream) - 1))
    stream[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CorruptStream):
        decode([bytes(stream)])


def test_message_above_the_limit_is_refused_before_it_arrives() -> None:
    prelude = struct.pack("!II", 25 * 1024 * 1024, 0)
    with pytest.raises(CorruptStream):
        decode([prelude + struct.pack("!I", crc32(prelude))])


def test_corrupted_frame_of_the_emulator_is_refused_by_both_decoders() -> None:
    frame = corrupted(encode({"a": "b"}, b"{}"))
    with pytest.raises(CorruptStream):
        decode([frame])
    with pytest.raises(ParserError):
        decoded_by_botocore(frame)
