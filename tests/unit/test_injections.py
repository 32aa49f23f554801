"""Texts that try to leave their place in the prompt stay in it, in the final request to Bedrock."""

import json
import re
from collections.abc import Generator
from datetime import UTC, datetime
from string import Template
from typing import Any

import pytest

from converse_stream.dialects.openai.prompt import prompt as openai_prompt
from converse_stream.dialects.openai.request import CompletionRequest
from converse_stream.memory.citations import extract_citations
from converse_stream.memory.lookup import Memory
from converse_stream.memory.sources import Document, Source
from converse_stream.model.catalog import Catalog
from converse_stream.model.converters import RequestSettings, to_request
from converse_stream.prompts import builder
from converse_stream.prompts.builder import PromptBudget, RequestContext
from converse_stream.prompts.prompt import Prompt
from converse_stream.prompts.templates import render
from converse_stream.protocol.events import Chunk, Citation, Message
from converse_stream.protocol.options import Options
from converse_stream.store.conversations import Conversation
from converse_stream.store.facts import Profile, SearchableFact
from tests.stack import ROOT

TEXTS = json.loads((ROOT / "tests/fixtures/injections/texts.json").read_text(encoding="utf-8"))
NUMBER = "7f3a9c21"
NUMBERS = {"number": NUMBER, "number_split": "7f3a\u200b9c21", "number_nested": f"7f3a{NUMBER}9c21"}
QUESTION = "How deep is the harbour?"
ANGLES = "<>\uff1c\uff1e\u276e\u276f\u2770\u2771\u2039\u203a\u300a\u300b\u3008\u3009\u27e8\u27e9\u226e\u226f"

parametrized = pytest.mark.parametrize(
    "text", [Template(text).safe_substitute(NUMBERS) for text in TEXTS.values()], ids=TEXTS
)


def request(prompt: Prompt) -> dict[str, Any]:
    return to_request(prompt, Catalog("eu")["claude-haiku"], Options(), RequestSettings())


def chat_request(text: str) -> dict[str, Any]:
    """A request with the text as a document and its name, a fact, the summary and each field of the profile."""
    history = [Message("id", "user", (Chunk("x" * 400),), "2026"), Message("id", "assistant", (Chunk("Yes."),), "2026")]
    memory = Memory(
        Conversation("c", 4, summary=text),
        tuple(history),
        (SearchableFact("f", text, created_at="2026-12-01"), Document(text, text), Document("Boats.", "boats.md")),
        Profile(text, text, text),
    )
    context = RequestContext(NUMBER, datetime(2026, 12, 1, 12, 5, tzinfo=UTC))
    budget = PromptBudget(100_000, 1_000)
    return request(builder.build(memory, history, QUESTION, assistant="Ada", budget=budget, context=context))


def texts_of(blocks: list[dict[str, Any]]) -> list[str]:
    return [block["text"] for block in blocks if "text" in block]


def inside(block: str, name: str) -> tuple[str, str]:
    """The text in the fence at the start of the block, and the rest of the block."""
    match = re.match(rf"<{name}-{NUMBER}>\n(.*?)\n</{name}-{NUMBER}>\n?", block, re.DOTALL)
    assert match, block
    return match[1], block[match.end() :]


def citations(text: str) -> list[Citation]:
    """The citations that clients get if the model repeats the text."""

    def model_events() -> Generator[Chunk, None, None]:
        yield Chunk(text)

    sources: list[Source] = [SearchableFact(f"{number}", "x") for number in range(9)]
    sources += [Document("x", f"{number}") for number in range(9)]
    return [event for event in extract_citations(model_events(), sources) if isinstance(event, Citation)]


@parametrized
def test_text_stays_inside_its_fence(text: str) -> None:
    sent = chat_request(text)
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]
    today, summary, facts, documents, question = texts_of(sent["messages"][-1]["content"])
    assert today == "Today is Tuesday, 1 December 2026, 12:05 (UTC)."
    assert question == QUESTION

    summarized, rest = inside(summary.removeprefix(f"{render('omitted')}\n"), "summary")
    assert rest == ""
    fact, rest = inside(facts, "facts")
    assert rest == render("facts")
    first, rest = inside(documents, "document")
    second, rest = inside(rest, "document")
    assert second == "[document 2] boats.md\nBoats."
    assert rest == render("documents")

    assert re.fullmatch(r"\[fact 1\] \(2026-12\)[^\n]*", fact)
    assert first.startswith("[document 1] ")
    for content in (summarized, fact.removeprefix("[fact 1]"), first.removeprefix("[document 1]")):
        assert NUMBER not in content.casefold()
        assert citations(content) == []


@parametrized
def test_text_stays_inside_the_profile(text: str) -> None:
    [system] = texts_of(chat_request(text)["system"])
    rules, profile = system.split("\n\n<profile>\n")
    assert rules == render("system", assistant="Ada")
    lines = profile.removesuffix("\n</profile>").split("\n")
    fields = [line.partition(":")[0] for line in lines if not line.startswith("  ")]
    assert fields == ["- The user's name", "- Your name, as the user wants it", "- About the user"]
    assert not set(ANGLES) & set("".join(lines))
    assert citations(profile) == []


@parametrized
def test_text_stays_inside_the_output_of_a_tool(text: str) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "read", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": text},
        {"role": "user", "content": "And now?"},
    ]
    body = CompletionRequest.model_validate({"model": "claude-haiku", "messages": messages})
    output, question = texts_of(request(openai_prompt(body))["messages"][-1]["content"])
    first, line, last = output.split("\n")
    assert (first, last, question) == ("<tool-output>", "</tool-output>", "And now?")
    assert not set(ANGLES) & set(line)
    assert citations(line) == []


def test_there_are_enough_texts_of_each_kind() -> None:
    assert len(TEXTS) >= 40
    assert sum("label" in name or "forge" in name for name in TEXTS) >= 15
    assert sum("close" in name for name in TEXTS) >= 10
