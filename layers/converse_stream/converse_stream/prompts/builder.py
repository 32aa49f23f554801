"""Builds the prompt of an answer. The parts that change least come first, for the model's prompt cache.

https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from converse_stream.memory.lookup import Memory
from converse_stream.memory.sources import Document, Source, labelled
from converse_stream.prompts.history import history
from converse_stream.prompts.prompt import Omitted, Prompt, PromptMessage, tokens
from converse_stream.prompts.templates import fenced, render
from converse_stream.protocol.events import Message
from converse_stream.store.facts import Profile, SearchableFact


@dataclass(frozen=True, slots=True)
class PromptBudget:
    """Limits in tokens: `window` for the whole prompt, `history` for its history."""

    window: int
    history: int


def build(memory: Memory, before: Sequence[Message], message: str, *, assistant: str, budget: PromptBudget) -> Prompt:
    """The prompt for `message` after the messages `before`, which are the memory's history or the first part of it.

    If the history does not fit, the oldest messages are left out, and the summary is added, or a note if there is none.
    It comes after the history, because it changes: the cache cannot be used for what follows a change.
    """
    system = _system(memory.profile, assistant)
    facts, documents = _fenced("facts", SearchableFact, memory), _fenced("documents", Document, memory)
    conversation = memory.conversation
    items = [("-", conversation.summary)] if conversation and conversation.summary else []
    summary = "\n".join(filter(None, [render("omitted"), fenced("summary", items)]))
    bare = Prompt(
        system, (), facts, PromptMessage("user", (message,)), summary=summary, documents=documents, stored=True
    )
    kept = history(before, memory.first_message, max(0, min(budget.history, budget.window - tokens(bare))))
    turn = PromptMessage("user", (*kept.unanswered, message))
    omitted = Omitted(kept.first - 1, bool(items), kept.shortened)
    return replace(bare, history=kept.turns, turn=turn, summary=summary if omitted.messages else "", omitted=omitted)


def _system(profile: Profile, assistant: str) -> str:
    fields = {
        "The user's name": profile.name,
        "Your name, as the user wants it": profile.assistant_name,
        "About the user": profile.about,
    }
    about = fenced("profile", [("-", f"{label}: {text}") for label, text in fields.items() if text])
    return "\n\n".join(filter(None, [render("system", assistant=assistant), about]))


def _fenced(name: str, kind: type[Source], memory: Memory) -> str:
    """The sources of one kind, each after its label, in a fence."""
    sources = [(f"[{label}]", source) for label, source in labelled(memory.sources) if isinstance(source, kind)]
    return fenced(name, [(label, _text(source)) for label, source in sources])


def _text(source: Source) -> str:
    return f"{source.name}: {source.text}" if isinstance(source, Document) else source.text
