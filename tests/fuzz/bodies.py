"""Request bodies of every route: valid, almost valid, and invalid."""

import gzip
import json
import re
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

CONVERSATION = "conversation-of-mine"
GENERATION = "generation-without-item"
MODELS = st.sampled_from(["nova-lite", "nova-micro", "nova-pro", "claude-haiku", "claude-sonnet"])

# JSON that `json.dumps` does not write. In a value, the string "@3@" is a placeholder for RAW[3].
NUMBERS = ["1e400", "-1e400", "-0", "1e-400", "NaN", "Infinity", "9" * 4_000, "9" * 100_000, "01", "+1", "1."]
DEEP = ["[" * n + "]" * n for n in (30, 150, 250, 100_000)] + ['{"a":' * n + "1" + "}" * n for n in (30, 150, 250)]
RAW = [*NUMBERS, *DEEP]
PLACEHOLDER = re.compile(r'"@(\d+)@"')
TEXTS = [
    "", " ", "\n", "\x00", "a\x00b", "\x1b[31m", "\x7f", "\x85", "\x9b", "\u2028", "\ufeff", "\u200b", "\u202e",
    "\ud83d", "\udc00", "e\u0301", "\ufdfa" * 200, "\u0344" * 100, "🌊" * 20, "x" * 5_000, "x" * 40_000,
    "../..", "%00", "U#x", "${x}", "<facts>", "null",
]  # fmt: skip

ids = st.sampled_from([CONVERSATION, "unknown-conversation", "A" * 64, "--------"])
plain = st.just("Tell me about rivers")
texts = st.one_of(plain, plain, plain, st.text(max_size=30), st.sampled_from(TEXTS))
raw = st.sampled_from([f"@{number}@" for number in range(len(RAW))])
arbitrary = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    texts,
    raw,
    st.just([]),
    st.just({}),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)


def optional(**fields: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def required(**fields: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(fields)


def merged(
    first: SearchStrategy[dict[str, Any]], second: SearchStrategy[dict[str, Any]]
) -> SearchStrategy[dict[str, Any]]:
    return st.builds(lambda a, b: a | b, first, second)


schemas = st.builds(
    lambda properties: {"type": "object", "properties": properties},
    st.dictionaries(texts, st.one_of(raw, arbitrary), max_size=2),
)
options = optional(
    maxTokens=st.integers(1, 4_000),
    temperature=st.floats(0, 1),
    topP=st.floats(0, 1),
    stop=st.lists(st.text(min_size=1, max_size=5), max_size=4),
    reasoning=st.sampled_from(["low", "medium", "high"]),
    serviceTier=st.sampled_from(["priority", "flex"]),
    latency=st.just("optimized"),
    schema=schemas,
)
part = required(type=st.just("text"), text=texts)
offsets = st.sampled_from(["+02:00", "-12:00", "+14:00", "+15:00", "Z", "+02:00\n"])
chat = st.one_of(
    merged(
        required(message=required(text=texts)),
        optional(conversationId=ids, model=MODELS, options=options, utcOffset=offsets),
    ),
    required(action=st.sampled_from(["regenerate", "continue"]), conversationId=st.just(CONVERSATION)),
)
ai_chat = merged(
    required(
        id=ids,
        messages=st.lists(
            required(id=texts, role=st.just("user"), parts=st.lists(part, max_size=3)),
            min_size=1,
            max_size=3,
        ),
    ),
    optional(
        trigger=st.sampled_from(["submit-message", "regenerate-message"]),
        messageId=texts,
        model=MODELS,
        options=options,
        utcOffset=offsets,
    ),
)
calls = st.lists(
    required(
        id=st.sampled_from(["a", "b"]),
        type=st.just("function"),
        function=required(
            name=st.sampled_from(["weather", "tides"]),
            arguments=st.one_of(
                st.sampled_from(["{}", "", "{", '{"\\ud800": 1}', *(f'{{"a": {value}}}' for value in RAW)]), texts
            ),
        ),
    ),
    min_size=1,
    max_size=2,
)
tools = st.lists(
    required(
        type=st.just("function"),
        function=merged(
            required(name=st.sampled_from(["weather", "tides", "x" * 64])),
            optional(
                description=texts,
                parameters=st.dictionaries(texts, st.one_of(raw, arbitrary), max_size=2),
            ),
        ),
    ),
    max_size=3,
)
reasoning_details = st.lists(
    optional(
        type=st.sampled_from(["reasoning.text", "reasoning.encrypted", "reasoning.summary"]),
        text=st.one_of(st.none(), texts),
        signature=texts,
        data=st.sampled_from(["AP8=", "no base64"]),
        format=st.sampled_from(["anthropic-claude-v1", "unknown", None]),
        index=st.integers(),
        model=st.sampled_from(["anthropic.claude-haiku-4-5-20251001-v1:0", "", None]),
    ),
    max_size=3,
)
openai_messages = st.lists(
    st.one_of(
        required(role=st.sampled_from(["user", "system", "developer", "assistant"]), content=texts),
        required(role=st.just("user"), content=st.lists(part, max_size=2)),
        merged(
            required(role=st.just("assistant"), content=st.one_of(st.none(), texts), tool_calls=calls),
            optional(reasoning_details=st.one_of(arbitrary, reasoning_details), reasoning=arbitrary),
        ),
        required(role=st.just("tool"), content=texts, tool_call_id=st.sampled_from(["a", "b"])),
    ),
    max_size=4,
)
openai_chat = merged(
    required(
        model=MODELS,
        messages=st.builds(
            lambda history, last: [*history, last], openai_messages, required(role=st.just("user"), content=texts)
        ),
    ),
    optional(
        stream=st.booleans(),
        stream_options=required(include_usage=st.booleans()),
        max_tokens=st.integers(1, 4_000),
        temperature=st.floats(0, 1),
        stop=st.one_of(texts, st.lists(texts, max_size=4)),
        tools=tools,
        tool_choice=st.sampled_from(["auto", "none", "required", {"type": "function", "function": {"name": "tides"}}]),
        reasoning_effort=st.sampled_from(["none", "low", "high"]),
        response_format=required(
            type=st.just("json_schema"), json_schema=required(name=st.just("place"), schema=schemas)
        ),
        service_tier=st.sampled_from(["auto", "flex"]),
        metadata=st.dictionaries(texts, texts, max_size=2),
        user=texts,
        seed=st.integers(),
    ),
)
conversation = optional(id=ids, title=texts)
fact = merged(required(text=texts), optional(kind=st.sampled_from(["fact", "preference"])))
profile = optional(name=texts, assistantName=texts, about=texts)
cancel = optional(generationId=st.just(GENERATION))
nothing = st.just(None)

ROUTES: dict[str, list[tuple[str, SearchStrategy[Any]]]] = {
    "stream": [
        ("POST /chat", chat),
        ("GET /chat/{}/stream", nothing),
        ("POST /chat/{}/cancel", cancel),
        ("POST /ai/chat", ai_chat),
        ("GET /ai/chat/{}/stream", nothing),
        ("POST /ai/chat/{}/stop", cancel),
        ("POST /v1/chat/completions", openai_chat),
        ("GET /models", nothing),
        ("GET /v1/models", nothing),
        ("GET /v1/models/{}", nothing),
        ("GET /health", nothing),
    ],
    "converse": [
        ("POST /chat", chat),
        ("POST /prompt/preview", chat),
        ("POST /chat/{}/cancel", cancel),
        ("POST /ai/chat/{}/stop", cancel),
        ("GET /models", nothing),
        ("GET /conversations", nothing),
        ("POST /conversations", conversation),
        ("GET /conversations/{}", nothing),
        ("PATCH /conversations/{}", required(title=texts)),
        ("DELETE /conversations/{}", nothing),
        ("GET /conversations/{}/messages", nothing),
        ("GET /memory", nothing),
        ("POST /memory", fact),
        ("DELETE /memory/{}", nothing),
        ("GET /profile", nothing),
        ("PUT /profile", profile),
        ("PATCH /profile", merged(profile, optional(learning=st.booleans()))),
        ("DELETE /me", nothing),
        ("GET /health", nothing),
        ("GET /openapi.json", nothing),
    ],
}
tasks = st.one_of(
    required(task=st.just("title"), text=texts),
    required(task=st.just("classify"), text=texts, labels=st.lists(texts, max_size=4)),
)


@st.composite
def mutated(draw: DrawFn, value: Any) -> Any:
    """Returns the value with one part of it removed, added or replaced."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        name = draw(st.sampled_from(sorted(value)))
        return {**value, name: draw(mutated(value[name]))}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], draw(mutated(value[at])), *value[at + 1 :]]
    change = draw(st.integers(0, 3))
    if isinstance(value, dict) and change == 0:
        return {**value, draw(texts): draw(arbitrary)}
    if isinstance(value, dict) and value and change == 1:
        removed = draw(st.sampled_from(sorted(value)))
        return {name: item for name, item in value.items() if name != removed}
    if isinstance(value, list) and change == 0:
        return [*value, draw(arbitrary)]
    if isinstance(value, list) and change == 1:
        return value * 1_000
    return draw(arbitrary)


def to_json(value: Any) -> str:
    """Returns the value as JSON, with the placeholders replaced; the result may be invalid JSON."""
    return PLACEHOLDER.sub(lambda match: RAW[int(match[1])], json.dumps(value))


@st.composite
def bodies(draw: DrawFn, shape: SearchStrategy[Any]) -> bytes:
    """A body of this shape: valid, almost valid, or no JSON."""
    value = draw(shape)
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        value = draw(mutated(value))
    body = to_json(value).encode()
    corrupt: Callable[[bytes], bytes] = draw(
        st.sampled_from(
            [
                *[lambda text: text] * 12,
                lambda text: b"\xef\xbb\xbf" + text,
                lambda text: text[:-1],
                lambda text: text + b"\x00",
                lambda text: text.replace(b"{", b'{"message": {"text": "twice"}, ', 1),
                gzip.compress,
                lambda text: text.decode().encode("utf-16"),
                lambda text: text.replace(b"e", b"\xe9"),
                lambda text: b" " * 300_000 + text,
                lambda text: text[:0],
            ]
        )
    )
    return corrupt(body)
