"""The emulator's event stream frames, decoded by botocore."""

import json
import struct
from collections.abc import Iterable
from typing import Any

import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from local_stack.bedrock.eventstream import corrupted, encode, encode_event, encode_exception

characters = st.text(st.characters(codec="utf-8"))


def decode(chunks: Iterable[bytes]) -> list[Any]:  # EventStreamMessage: its headers have a wrong type in the stubs
    """The messages of a stream that is received in these chunks of bytes."""
    buffer = EventStreamBuffer()
    messages: list[Any] = []
    for chunk in chunks:
        buffer.add_data(chunk)
        messages.extend(buffer)
    return messages


def test_frame_has_the_documented_bytes() -> None:
    frame = encode({"a": "b"}, b"{}")
    assert frame[:8] == struct.pack("!II", 24, 6)
    assert frame[12:20] == b"\x01a\x07\x00\x01b{}"
    assert len(frame) == 24


@given(st.dictionaries(st.text(st.characters(codec="ascii"), min_size=1, max_size=50), characters), st.binary())
def test_botocore_decodes_any_headers_and_payload(headers: dict[str, str], payload: bytes) -> None:
    [message] = decode([encode(headers, payload)])
    assert message.headers == headers
    assert message.payload == payload


@given(st.lists(st.tuples(st.sampled_from(["contentBlockDelta", "messageStop"]), characters), max_size=5), st.data())
def test_frames_split_at_any_byte_are_decoded(events: list[tuple[str, str]], data: st.DataObject) -> None:
    stream = b"".join(encode_event(name, {"text": text}) for name, text in events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    messages = decode(chunks)
    assert [(message.headers[":event-type"], json.loads(message.payload)["text"]) for message in messages] == events


def test_four_byte_character_split_at_any_byte_is_decoded() -> None:
    frame = encode_event("contentBlockDelta", {"delta": {"text": "🌊"}})
    assert "🌊".encode() in frame  # as UTF-8: an escape could not be cut inside the character
    for cut in range(len(frame) + 1):
        [message] = decode([frame[:cut], frame[cut:]])
        assert json.loads(message.payload) == {"delta": {"text": "🌊"}}
    assert len(decode(bytes([byte]) for byte in frame)) == 1


def test_exception_frame_has_the_exception_headers() -> None:
    [message] = decode([encode_exception("throttlingException", "slow down")])
    assert message.headers[":message-type"] == "exception"
    assert message.headers[":exception-type"] == "throttlingException"
    assert message.to_response_dict()["status_code"] == 400
    assert json.loads(message.payload) == {"message": "slow down"}


def test_corrupted_frame_has_a_checksum_mismatch() -> None:
    with pytest.raises(ChecksumMismatch):
        decode([corrupted(encode_event("messageStop", {"stopReason": "end_turn"}))])


def test_header_name_over_255_bytes_is_refused() -> None:
    with pytest.raises(struct.error):
        encode({"a" * 256: "b"}, b"")
