"""Builds the prompt of one turn: what changes least comes first, because that is what a model's cache can keep.

https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from converse_stream.memory.lookup import Memory
from converse_stream.memory.sources import Document, Source, labelled
from converse_stream.prompts.history import history
from converse_stream.prompts.prompt import Prompt, PromptMessage, tokens
from converse_stream.prompts.templates import fenced, render
from converse_stream.protocol.events import Message
from converse_stream.store.facts import Profile, SearchableFact


@dataclass(frozen=True, slots=True)
class PromptBudget:
    """Tokens: of the whole prompt, and at most of its history."""

    window: int
    history: int


def build(memory: Memory, before: Sequence[Message], message: str, *, assistant: str, room: PromptBudget) -> Prompt:
    """The prompt for `message` behind the messages `before`, the first of the memory's history.

    What is oldest goes first where the history does not fit. The summary stands for what went, behind the history: it
    changes, and would spoil the cache of all that follows it.
    """
    system = _system(memory.profile, assistant)
    facts, documents = _fenced("facts", SearchableFact, memory), _fenced("documents", Document, memory)
    known = memory.conversation
    summary = fenced("summary", [("-", known.summary)]) if known and known.summary else ""
    bare = Prompt(
        system, (), facts, PromptMessage("user", (message,)), summary=summary, documents=documents, stored=True
    )
    older = max(0, known.seq - len(memory.history)) if known else 0
    kept = history(before, older, max(0, min(room.history, room.window - tokens(bare))))
    turn = PromptMessage("user", (*kept.unanswered, message))
    return replace(bare, history=kept.turns, turn=turn, summary="" if kept.whole else summary)


def _system(profile: Profile, assistant: str) -> str:
    told = {
        "The user's name": profile.name,
        "Your name, as the user wants it": profile.assistant_name,
        "About the user": profile.about,
    }
    about = fenced("profile", [("-", f"{what}: {text}") for what, text in told.items() if text])
    return "\n\n".join(filter(None, [render("system", assistant=assistant), about]))


def _fenced(name: str, kind: type[Source], memory: Memory) -> str:
    """The sources of one kind behind their labels."""
    own = [(f"[{label}]", source) for label, source in labelled(memory.sources) if isinstance(source, kind)]
    return fenced(name, [(label, _told(source)) for label, source in own])


def _told(source: Source) -> str:
    return f"{source.name}: {source.text}" if isinstance(source, Document) else source.text
