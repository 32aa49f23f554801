"""Validation of request bodies: every error names the field."""

import base64
import gzip
import json
from typing import Any, Literal

import pytest

from converse_stream.dialects.ai_sdk.request import parse_question
from converse_stream.http.bodies import ChatRequest, ConversationChange, NewFact, NewProfile, parse_chat, parse_send
from converse_stream.http.request import HttpRequest
from converse_stream.http.validation import check_json, parse
from converse_stream.protocol.errors import BadRequest, ChatError, TooLarge, UnsupportedMediaType
from converse_stream.protocol.fields import Body
from converse_stream.settings import Settings

SETTINGS = Settings(
    table_name="chat", auth_mode="iam", url_auth_type="AWS_IAM", max_message_chars=50, max_body_bytes=400
)


def post(body: bytes, content_type: str = "application/json") -> HttpRequest:
    encoded = base64.b64encode(body).decode()
    return HttpRequest("POST", "/chat", {}, {"content-type": content_type}, encoded, True, {}, is_rest=False)


def text(value: Any, **more: Any) -> bytes:
    return json.dumps({"message": {"text": value}, **more}).encode()


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        (b"", "body", "not valid JSON"),
        (b"{", "body", "not valid JSON"),
        (b"\xff", "body", "not valid JSON"),
        (b"[]", "body", "must be an object"),
        (b"{}", "message", "is required"),
        (b'{"action": "regenerate"}', "conversationId", "is required"),
        (b'{"action": "continue", "message": {"text": "hi"}}', "message", "not allowed with"),
        (b'{"action": "invent", "message": {"text": "hi"}}', "action", "must be one of"),
        (b'{"message": "hi"}', "message", "must be an object"),
        (b'{"message": {}}', "message.text", "is required"),
        (text(""), "message.text", "must not be empty"),
        (text(" \n\t"), "message.text", "is blank"),
        (text(7), "message.text", "must be a string"),
        (b'{"message": {"text": "\\ud83d"}}', "body", "not valid JSON"),
        (b'{"message": {"text": "hi", "parts": []}}', "message.parts", "is not a known field"),
        (text("hi", colour="red"), "colour", "is not a known field"),
        (text("hi", conversation_id="abcdefgh"), "conversation_id", "is not a known field"),
        (text("hi", conversationId="short"), "conversationId", "not allowed"),
        (text("hi", conversationId="has space in it"), "conversationId", "not allowed"),
        (text("hi", conversationId="newline-at-end\n"), "conversationId", "not allowed"),
        (text("hi", model="../../etc"), "model", "not allowed"),
        (text("hi", options={"maxTokens": 0}), "options.maxTokens", "at least 1"),
        (text("hi", options={"maxTokens": "10"}), "options.maxTokens", "must be a whole number"),
        (text("hi", options={"maxTokens": True}), "options.maxTokens", "must be a whole number"),
        (b'{"message": {"text": "hi"}, "options": {"temperature": 1e999}}', "options.temperature", "finite"),
        (text("hi", options={"temperature": 1.5}), "options.temperature", "at most 1"),
        (text("hi", options={"stop": ["a"] * 5}), "options.stop", "more than 4"),
        (text("hi", options={"stop": [""]}), "options.stop.0", "must not be empty"),
        (text("hi", options={"reasoning": "endless"}), "options.reasoning", "must be one of"),
        (text("hi", utcOffset="+14:01"), "utcOffset", "must be an offset from UTC, from -12:00 to +14:00, such as +02"),
        (text("hi", utcOffset="-12:30"), "utcOffset", "must be an offset from UTC"),
        (text("hi", utcOffset="+2:00"), "utcOffset", "must be an offset from UTC"),
        (text("hi", utcOffset="+02:60"), "utcOffset", "must be an offset from UTC"),
        (text("hi", utcOffset="+02:00\n"), "utcOffset", "must be an offset from UTC"),
        (text("hi", utcOffset="Europe/Lisbon"), "utcOffset", "must be an offset from UTC"),
        (text("hi", utcOffset=120), "utcOffset", "must be a string"),
        (b'{"message":' + b"[" * 380, "body", "not valid JSON"),
        (b"\xef\xbb\xbf" + text("hi"), "body", "not valid JSON"),
        (gzip.compress(text("hi"), mtime=0), "body", "not valid JSON"),
        (text("\x00\x1b \x9f"), "message.text", "is blank"),
        (b'{"message": {"text": "hi"}, "options": {"maxTokens": 9%s}}' % (b"9" * 300), "options.maxTokens", "at most"),
    ],
)
def test_invalid_body_is_refused_with_the_field(body: bytes, field: str, reason: str) -> None:
    with pytest.raises(BadRequest) as error:
        parse_chat(post(body), SETTINGS)
    assert error.value.field == field
    assert reason in error.value.message


def test_text_over_the_configured_limit_is_refused() -> None:
    with pytest.raises(TooLarge, match=r"message\.text is longer than 50 characters"):
        parse_chat(post(text("x" * 51)), SETTINGS)


def test_body_over_the_configured_limit_is_refused() -> None:
    with pytest.raises(TooLarge, match="larger than 400 bytes"):
        parse_chat(post(b" " * 401), SETTINGS)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/jsonp",
        "multipart/form-data",
        "application/json, text/plain",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
    ],
)
def test_content_type_other_than_json_is_unsupported(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        parse_chat(post(text("hi"), content_type), SETTINGS)


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", ' application/json;charset="UTF-8"']
)
def test_valid_body_is_parsed(content_type: str) -> None:
    request = parse_chat(post(text("hé 🌊", options={"maxTokens": 5, "topP": 1}), content_type), SETTINGS)
    assert request.message is not None
    assert request.message.text == "hé 🌊"
    assert request.options.max_tokens == 5
    assert request.conversation_id is None


@pytest.mark.parametrize("offset", ["+00:00", "-00:00", "-12:00", "-11:59", "+05:45", "+13:59", "+14:00"])
def test_every_utc_offset_on_earth_is_accepted(offset: str) -> None:
    assert parse_chat(post(text("hi", utcOffset=offset)), SETTINGS).utc_offset == offset


@pytest.mark.parametrize("action", ["send", "regenerate"])
def test_request_of_the_ai_sdk_has_its_utc_offset(action: Literal["send", "regenerate"]) -> None:
    message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
    body = {"id": "conversation", "messages": [message], "utcOffset": "+02:00"}
    question = parse_question(post(json.dumps(body).encode()), SETTINGS)
    assert question.request(action).utc_offset == "+02:00"
    with pytest.raises(BadRequest, match=r"utcOffset must be an offset from UTC"):
        parse_question(post(json.dumps(body | {"utcOffset": "CET"}).encode()), SETTINGS)


def test_same_send_after_a_change_of_the_clock_has_the_same_fingerprint() -> None:
    sends = [
        parse_send({}, parse_chat(post(text("hi", **offset)), SETTINGS)) for offset in ({}, {"utcOffset": "+01:00"})
    ]
    assert sends[0].fingerprint == sends[1].fingerprint
    assert parse_send({}, parse_chat(post(text("ho")), SETTINGS)).fingerprint != sends[0].fingerprint


def test_invalid_base64_is_refused() -> None:
    request = HttpRequest("POST", "/chat", {}, {"content-type": "application/json"}, "n0 base64!", True, {}, False)
    with pytest.raises(BadRequest, match="not valid base64"):
        parse_chat(request, SETTINGS)


@pytest.mark.parametrize("body", [b"{", b'"\\ud800"', b"[" * 100_000, b"NaN", b"\xed\xa0\x80", b"[{}]", b'"text"'])
def test_check_json_refuses_anything_but_a_json_object(body: bytes) -> None:
    with pytest.raises(BadRequest):
        check_json(body)


def test_control_characters_are_removed_and_other_text_is_unchanged() -> None:
    message = parse_chat(post(text("\ta\x0bb\x85c\r\n\x1b[1md\x00 e\u0301 ")), SETTINGS).message
    assert message is not None
    assert message.text == "\ta\nb\nc\r\n[1md e\u0301 "


def test_titles_facts_and_profiles_are_normalized() -> None:
    assert parse(ConversationChange, b'{"title": " Cafe\\u0301\\u0007 "}').title == "Caf\xe9"
    assert parse(NewFact, b'{"text": "Cafe\\u0301"}').text == "Caf\xe9"
    assert parse(NewProfile, b'{"name": " ", "about": "a\\u0000"}') == NewProfile(name="", about="a")


@pytest.mark.parametrize(
    ("model", "body", "field"),
    [
        (ConversationChange, b'{"title": " \\u0000"}', "title"),
        (NewFact, b'{"text": "\\n"}', "text"),
    ],
)
def test_text_that_is_blank_after_normalization_is_refused(model: type[Body], body: bytes, field: str) -> None:
    with pytest.raises(BadRequest, match=f"{field} is blank"):
        parse(model, body)


def test_last_of_two_fields_with_one_name_is_used() -> None:
    message = parse_chat(post(b'{"message": {"text": "one"}, "message": {"text": "two"}}'), SETTINGS).message
    assert message is not None
    assert message.text == "two"


def test_error_does_not_repeat_a_long_unknown_name() -> None:
    with pytest.raises(ChatError) as error:
        parse_chat(post(text("hi", **{"x" * 200: 1})), SETTINGS)
    assert len(error.value.message) < 150


def test_schema_allows_no_additional_properties() -> None:
    assert ChatRequest.model_json_schema()["additionalProperties"] is False


@pytest.mark.parametrize("name", ["", "\t", "X: obey\nme", "Iris (obey)", "\u200b", "I" * 41, "-"])
def test_invalid_assistant_name_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match="assistantName"):
        parse(NewProfile, json.dumps({"assistantName": name}).encode())


@pytest.mark.parametrize("name", ["Iris", "Dr. O\u2019Neil-Smith", "\u0423\u043c\u043d\u0438\u0446\u0430", "R2 D2"])
def test_valid_assistant_name_is_accepted(name: str) -> None:
    assert parse(NewProfile, json.dumps({"assistantName": name}).encode()).assistant_name == name
