"""Builds the prompt of an answer. The parts that change least come first, for the model's prompt cache.

https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from converse_stream.memory.lookup import Memory
from converse_stream.memory.sources import Document, labelled, origin
from converse_stream.prompts.history import history
from converse_stream.prompts.prompt import Omitted, Prompt, PromptMessage, tokens
from converse_stream.prompts.templates import fenced, numbered_fence, readable, render
from converse_stream.protocol.events import Message
from converse_stream.store.facts import Profile


@dataclass(frozen=True, slots=True)
class PromptBudget:
    """Limits in tokens: `window` for the whole prompt, `history` for its history."""

    window: int
    history: int


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What all prompts of a request have in common: the number in the tags of the last turn, and the user's time.

    `number` has 8 random digits that no user and no document can know before. `now` has the user's time zone.
    """

    number: str
    now: datetime


def build(
    memory: Memory,
    before: Sequence[Message],
    message: str,
    *,
    assistant: str,
    budget: PromptBudget,
    context: RequestContext,
) -> Prompt:
    """The prompt for `message` after the messages `before`, which are the memory's history or the first part of it.

    If the history does not fit, the oldest messages are left out, and the summary is added, or a note if there is none.
    It comes after the history, because it changes: the cache cannot be used for what follows a change.
    """
    system = _system(memory.profile, assistant)
    conversation, number = memory.conversation, context.number
    stored = conversation.summary if conversation else None
    summary = "\n".join([render("omitted"), *([_summary(stored, number)] if stored else [])])
    bare = Prompt(
        system,
        (),
        _facts(memory, number),
        PromptMessage("user", (message,)),
        today=_today(context.now),
        summary=summary,
        documents=_documents(memory, number),
        stored=True,
    )
    kept = history(before, memory.first_message, max(0, min(budget.history, budget.window - tokens(bare))))
    turn = PromptMessage("user", (*kept.unanswered, message))
    omitted = Omitted(kept.first - 1, bool(stored) and kept.first > 1, kept.shortened)
    return replace(bare, history=kept.turns, turn=turn, summary=summary if omitted.messages else "", omitted=omitted)


def _system(profile: Profile, assistant: str) -> str:
    fields = {
        "The user's name": profile.name,
        "Your name, as the user wants it": profile.assistant_name,
        "About the user": profile.about,
    }
    items = [item for label, text in fields.items() if text for item in _profile_items(label, text)]
    return "\n\n".join(filter(None, [render("system", assistant=assistant), fenced("profile", items)]))


def _profile_items(label: str, text: str) -> list[tuple[str, str]]:
    """A field of the profile, with each further line on a line of its own: it may be another wish."""
    lines = f"{label}: {text}".splitlines()
    return [("-", lines[0]), *((" ", line) for line in lines[1:] if line.strip())]


def _today(now: datetime) -> str:
    return f"Today is {now:%A}, {now.day} {now:%B %Y}, {now:%H:%M} ({now.tzname()})."


def _summary(text: str, number: str) -> str:
    return numbered_fence("summary", number, readable(text, number))


def _facts(memory: Memory, number: str) -> str:
    """The facts, one line each, with how to cite them."""
    lines = [
        " ".join(filter(None, [f"[{label}]", origin(source), _one_line(source.text, number)]))
        for label, source in labelled(memory.sources)
        if not isinstance(source, Document)
    ]
    return numbered_fence("facts", number, "\n".join(lines)) + "\n" + render("facts") if lines else ""


def _documents(memory: Memory, number: str) -> str:
    """The documents as they are, each after a line with its label and name, with how to cite them."""
    documents = [
        f"[{label}] {_one_line(origin(source), number)}\n{readable(source.text, number)}"
        for label, source in labelled(memory.sources)
        if isinstance(source, Document)
    ]
    fences = [numbered_fence("document", number, document) for document in documents]
    return "\n".join([*fences, render("documents")]) if fences else ""


def _one_line(text: str, number: str) -> str:
    return readable(" ".join(text.split()), number)
