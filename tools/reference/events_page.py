"""Generates docs/reference/events.md: the events of a stream with fields and examples, and the finish reasons."""

import json
from collections.abc import Iterator
from typing import Any

from tools.reference import api, product
from tools.reference.markdown import block, code, codes, link, page, paired, sentence, table
from tools.reference.schemas import Schemas
from tools.reference.template import ROOT

FIXTURES = ROOT / "tests/fixtures"
LONGEST_LINE = 240  # characters; longer frames are shown on several lines

# The folder of tests/fixtures that has the example of an event.
EXAMPLES = {
    "start": "text",
    "progress": "citations",
    "chunk": "text",
    "reasoning": "reasoning",
    "citation": "citations",
    "tool": "tools",
    "rollback": "rollback",
    "complete": "reasoning",
    "error": "error",
}

INTRODUCTION = """\
`POST /chat` and `GET /chat/{conversation}/stream` of the Function URL answer with [server-sent
events](https://html.spec.whatwg.org/multipage/server-sent-events.html). Each event is one line `data: {json}`,
followed by an empty line. `type` in the JSON names the event. Ignore types and fields that you do not know. The
examples are frames that the tests compare byte by byte."""

ORDER = """\
1. `start` is the first event, also of a stream that is resumed.
2. `progress` may follow.
3. `reasoning`, `chunk`, `citation`, `tool` and `rollback` follow in any order.
4. `complete` or `error` is the last event. A stream with a cursor may end without one: see
   [Resume](#resume)."""

RESUME = """\
`chunk`, `reasoning`, `citation` and `tool` have an `id` line: `<generation>:<position>`. A position counts the
Unicode code points of text and reasoning from the beginning of the answer, and 1 for each citation and each event of
a tool. The log also has entries that are not sent, such as the signatures of reasoning. Each of them counts 1. So take
positions from the ids, and do not count yourself.

To resume, send the last id as the header `Last-Event-ID`, or as `?after=`. The new stream begins with `start`, and then
has what is behind that position; pieces may be joined. Browsers and libraries for server-sent events send the header
themselves.

A stream with a cursor ends after {attach} s at most, and when the same `X-Client-Id` opens a newer one. If it ends
without `complete` or `error`, resume again with the last id. `continue` sends only the new part of the answer: its
ids count from the beginning, and `aiMessage` of `complete` has the whole answer."""

COMMENTS = """\
Lines that begin with a colon are comments. `{nudge}` follows after {nudge_after} s without a new event, so that
proxies send on what they hold. `{heartbeat}` follows every {heartbeat_after:.0f} s without events, so that
connections are not closed as idle."""

STAGES = {
    "memory": "A part of the memory is left out, because it was not read in time. `detail` says which.",
    "history": "The model does not get all of the conversation. `detail` says what: `earlier messages summarized`, "
    "`earlier messages left out` or `long messages shortened`.",
    "search": "Documents are searched. A second event with `detail` says what was found.",
    "retry": "The model refused the request in a way that may pass. It is asked again.",
    "adapted": "`detail` is a field of the request that the model does not get, such as `options.temperature`, or "
    "`<field>=<value>` for the value that it gets instead.",
    "fallback": "Another model is asked. `detail` is its alias.",
}

NO_TOOLS = "`POST /chat` offers no tools to the model, so its streams do not have this event yet."

REASONS = """\
`finishReason` of `complete`, of a message and of an answer in one piece. A stop reason of Bedrock's that is not in
this table is passed on as it is. OpenAI's protocol has fewer words; the AI SDK gets our word in
`messageMetadata.finishReason`, and the type of the last chunk differs only after a cancellation."""

MEANINGS = {
    "stop": "The model ended its answer, or wrote one of the stop sequences.",
    "length": "`maxTokens`, the context window or the largest size of an answer was reached.",
    "content-filter": "The model or a guardrail blocked the rest.",
    "tool-calls": "The model calls tools of the request (`/v1` only).",
    "cancelled": "The user cancelled the generation.",
    "deadline": "The time for an answer is over: see [Limits](limits.md#time).",
    "budget": "A budget of the day was used up during the answer.",
    "lost": "The environment that made the answer ended. What it had stored is kept.",
}

PLAIN = """\
`?dialect=plain` sends text and errors only, in the form that simple clients expect. It has no ids, so it cannot be
resumed. The last line is always `{end}`."""

DIALECTS = f"""\
The AI SDK's chunks are described under {link("UiMessageChunk", "UiMessageChunk", "http.md")}, OpenAI's under
{link("ChatCompletionChunk", "ChatCompletionChunk", "http.md")}."""


def text() -> str:
    """Return the text of the page."""
    schemas = api.schemas(api.EVENTS)
    events = api.events()
    paired(EXAMPLES, events, "events_page.EXAMPLES")
    sections = [part for kind, name in events.items() for part in _event(kind, schemas, name)]
    return page(
        "Events of a stream",
        INTRODUCTION,
        table(
            ("event", "description"),
            [(link(code(kind), kind), sentence(schemas[name]["description"])) for kind, name in events.items()],
        ),
        "## Order",
        ORDER,
        "## Resume",
        RESUME.format(attach=product.ATTACH_SECONDS),
        "## Comments",
        COMMENTS.format(
            nudge=product.NUDGE,
            nudge_after=product.NUDGE_SECONDS,
            heartbeat=product.HEARTBEAT,
            heartbeat_after=product.HEARTBEAT_SECONDS,
        ),
        "## StreamEvent",
        *sections,
        "## Finish reasons",
        REASONS,
        _reasons(),
        "## Plain dialect",
        PLAIN.format(end=product.STREAM_END.strip()),
        *(schemas.section(name, "###") for name in api.PLAIN),
        block((FIXTURES / "error/plain.sse").read_text("utf-8")),
        "## Other dialects",
        DIALECTS,
    )


def _event(kind: str, schemas: Schemas, name: str) -> Iterator[str]:
    schema = schemas[name]
    yield f"### {kind}"
    yield sentence(schema["description"])
    if kind == "tool":
        yield NO_TOOLS
    yield schemas.fields(name)
    if kind == "progress":
        stages = paired(STAGES, schema["properties"]["stage"]["enum"], "events_page.STAGES")
        yield table(("`stage`", "meaning"), [(code(stage), meaning) for stage, meaning in stages.items()])
    frame = _example(kind)
    if len(frame) <= LONGEST_LINE:
        yield block(frame)
    else:
        yield "The data, with line breaks added:"
        yield block(json.dumps(_data(frame), indent=2, ensure_ascii=False), "json")


def _example(kind: str) -> str:
    """Return the first frame of this type in its fixture (see `EXAMPLES`)."""
    path = FIXTURES / EXAMPLES[kind] / "native.sse"
    frames = path.read_text("utf-8").split("\n\n")
    return next(frame for frame in frames if frame and _data(frame)["type"] == kind)


def _data(frame: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(frame.partition("data: ")[2])
    return data


def _reasons() -> str:
    meanings = paired(MEANINGS, product.FINISH, "events_page.MEANINGS")
    rows = [
        (
            code(reason),
            meanings[reason],
            codes(finish.bedrock),
            code(finish.openai),
            code(product.ai_sdk_ending(reason)),
        )
        for reason, finish in product.FINISH.items()
    ]
    other = ("any other", "Bedrock's own word.", "", code(product.UNKNOWN.openai), code(product.ai_sdk_ending("new")))
    head = ("`finishReason`", "meaning", "Bedrock's `stopReason`", "OpenAI's `finish_reason`", "AI SDK's last chunk")
    return table(head, [*rows, other])
