"""Bodies of every route, as they should be, nearly should be, and should not be at all."""

import gzip
import json
import re
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

MINE = "conversation-of-mine"
ANSWERED = "generation-that-is-none"
MODELS = st.sampled_from(["nova-lite", "nova-micro", "nova-pro", "claude-haiku", "claude-sonnet"])

# JSON that Python does not write; in a value a string "@3@" stands for one of it, by number.
NUMBERS = ["1e400", "-1e400", "-0", "1e-400", "NaN", "Infinity", "9" * 4_000, "9" * 100_000, "01", "+1", "1."]
DEEP = ["[" * n + "]" * n for n in (30, 150, 250, 100_000)] + ['{"a":' * n + "1" + "}" * n for n in (30, 150, 250)]
RAW = [*NUMBERS, *DEEP]
MARK = re.compile(r'"@(\d+)@"')
TEXTS = [
    "", " ", "\n", "\x00", "a\x00b", "\x1b[31m", "\x7f", "\x85", "\x9b", "\u2028", "\ufeff", "\u200b", "\u202e",
    "\ud83d", "\udc00", "e\u0301", "\ufdfa" * 200, "\u0344" * 100, "🌊" * 20, "x" * 5_000, "x" * 40_000,
    "../..", "%00", "U#x", "${x}", "<facts>", "null",
]  # fmt: skip

ids = st.sampled_from([MINE, "nobody-knows-it", "A" * 64, "--------"])
plain = st.just("Tell me about rivers")
texts = st.one_of(plain, plain, plain, st.text(max_size=30), st.sampled_from(TEXTS))
raw = st.sampled_from([f"@{number}@" for number in range(len(RAW))])
nasty = st.one_of(
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


def sometimes(**fields: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def always(**fields: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(fields)


def both(one: SearchStrategy[dict[str, Any]], two: SearchStrategy[dict[str, Any]]) -> SearchStrategy[dict[str, Any]]:
    return st.builds(lambda a, b: a | b, one, two)


schemas = st.builds(
    lambda properties: {"type": "object", "properties": properties},
    st.dictionaries(texts, st.one_of(raw, nasty), max_size=2),
)
options = sometimes(
    maxTokens=st.integers(1, 4_000),
    temperature=st.floats(0, 1),
    topP=st.floats(0, 1),
    stop=st.lists(st.text(min_size=1, max_size=5), max_size=4),
    reasoning=st.sampled_from(["low", "medium", "high"]),
    serviceTier=st.sampled_from(["priority", "flex"]),
    latency=st.just("optimized"),
    schema=schemas,
)
part = always(type=st.just("text"), text=texts)
chat = st.one_of(
    both(always(message=always(text=texts)), sometimes(conversationId=ids, model=MODELS, options=options)),
    always(action=st.sampled_from(["regenerate", "continue"]), conversationId=st.just(MINE)),
)
ai_chat = both(
    always(
        id=ids,
        messages=st.lists(
            always(id=texts, role=st.just("user"), parts=st.lists(part, max_size=3)),
            min_size=1,
            max_size=3,
        ),
    ),
    sometimes(
        trigger=st.sampled_from(["submit-message", "regenerate-message"]),
        messageId=texts,
        model=MODELS,
        options=options,
    ),
)
calls = st.lists(
    always(
        id=st.sampled_from(["a", "b"]),
        type=st.just("function"),
        function=always(
            name=st.sampled_from(["weather", "tides"]),
            arguments=st.one_of(
                st.sampled_from(["{}", "", "{", '{"\\ud800": 1}', *(f'{{"a": {each}}}' for each in RAW)]), texts
            ),
        ),
    ),
    min_size=1,
    max_size=2,
)
tools = st.lists(
    always(
        type=st.just("function"),
        function=both(
            always(name=st.sampled_from(["weather", "tides", "x" * 64])),
            sometimes(
                description=texts,
                parameters=st.dictionaries(texts, st.one_of(raw, nasty), max_size=2),
            ),
        ),
    ),
    max_size=3,
)
openai_messages = st.lists(
    st.one_of(
        always(role=st.sampled_from(["user", "system", "developer", "assistant"]), content=texts),
        always(role=st.just("user"), content=st.lists(part, max_size=2)),
        always(role=st.just("assistant"), content=st.one_of(st.none(), texts), tool_calls=calls),
        always(role=st.just("tool"), content=texts, tool_call_id=st.sampled_from(["a", "b"])),
    ),
    max_size=4,
)
openai_chat = both(
    always(
        model=MODELS,
        messages=st.builds(
            lambda history, last: [*history, last], openai_messages, always(role=st.just("user"), content=texts)
        ),
    ),
    sometimes(
        stream=st.booleans(),
        stream_options=always(include_usage=st.booleans()),
        max_tokens=st.integers(1, 4_000),
        temperature=st.floats(0, 1),
        stop=st.one_of(texts, st.lists(texts, max_size=4)),
        tools=tools,
        tool_choice=st.sampled_from(["auto", "none", "required", {"type": "function", "function": {"name": "tides"}}]),
        reasoning_effort=st.sampled_from(["none", "low", "high"]),
        response_format=always(type=st.just("json_schema"), json_schema=always(name=st.just("place"), schema=schemas)),
        service_tier=st.sampled_from(["auto", "flex"]),
        metadata=st.dictionaries(texts, texts, max_size=2),
        user=texts,
        seed=st.integers(),
    ),
)
conversation = sometimes(id=ids, title=texts)
fact = both(always(text=texts), sometimes(kind=st.sampled_from(["fact", "preference"])))
profile = sometimes(name=texts, assistantName=texts, about=texts)
cancel = sometimes(generationId=st.just(ANSWERED))
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
        ("GET /v1/models", nothing),
        ("GET /v1/models/{}", nothing),
        ("GET /health", nothing),
    ],
    "converse": [
        ("POST /chat", chat),
        ("POST /prompt/preview", chat),
        ("POST /chat/{}/cancel", cancel),
        ("POST /ai/chat/{}/stop", cancel),
        ("GET /conversations", nothing),
        ("POST /conversations", conversation),
        ("GET /conversations/{}", nothing),
        ("PATCH /conversations/{}", always(title=texts)),
        ("DELETE /conversations/{}", nothing),
        ("GET /conversations/{}/messages", nothing),
        ("GET /memory", nothing),
        ("POST /memory", fact),
        ("DELETE /memory/{}", nothing),
        ("GET /profile", nothing),
        ("PUT /profile", profile),
        ("PATCH /profile", both(profile, sometimes(learning=st.booleans()))),
        ("DELETE /me", nothing),
        ("GET /health", nothing),
        ("GET /openapi.json", nothing),
    ],
}
tasks = st.one_of(
    always(task=st.just("title"), text=texts),
    always(task=st.just("classify"), text=texts, labels=st.lists(texts, max_size=4)),
)


@st.composite
def mutated(draw: DrawFn, value: Any) -> Any:
    """The value with one thing in it threads_ended, more, or other."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        name = draw(st.sampled_from(sorted(value)))
        return {**value, name: draw(mutated(value[name]))}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], draw(mutated(value[at])), *value[at + 1 :]]
    change = draw(st.integers(0, 3))
    if isinstance(value, dict) and change == 0:
        return {**value, draw(texts): draw(nasty)}
    if isinstance(value, dict) and value and change == 1:
        threads_ended = draw(st.sampled_from(sorted(value)))
        return {name: each for name, each in value.items() if name != threads_ended}
    if isinstance(value, list) and change == 0:
        return [*value, draw(nasty)]
    if isinstance(value, list) and change == 1:
        return value * 1_000
    return draw(nasty)


def dumped(value: Any) -> str:
    """JSON, or what looks like it."""
    return MARK.sub(lambda found: RAW[int(found[1])], json.dumps(value))


@st.composite
def bodies(draw: DrawFn, shape: SearchStrategy[Any]) -> bytes:
    """Valid, nearly valid, or no JSON at all."""
    value = draw(shape)
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        value = draw(mutated(value))
    body = dumped(value).encode()
    damage: Callable[[bytes], bytes] = draw(
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
    return damage(body)
