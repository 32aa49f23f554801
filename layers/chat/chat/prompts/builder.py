"""Builds the prompt of one turn: what changes least comes first, because that is what a model's cache can keep.

https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
"""

from collections.abc import Sequence
from dataclasses import dataclass

from chat.events import Message
from chat.memory.lookup import Memory
from chat.prompts.history import history
from chat.prompts.prompt import Prompt, Turn, estimate_tokens, tokens
from chat.prompts.templates import fenced, render
from chat.store.facts import Profile


@dataclass(frozen=True, slots=True)
class Room:
    """Tokens: of the whole prompt, and at most of two of its parts."""

    window: int
    history: int
    facts: int


def build(memory: Memory, before: Sequence[Message], message: str, *, assistant: str, room: Room) -> Prompt:
    """The prompt for `message` behind the messages `before`, the first of the memory's history.

    What is oldest goes first where the history or the facts do not fit. The summary stands for what went, behind the
    history: it changes, and would spoil the cache of all that follows it.
    """
    facts = fenced("facts", _newest([fact.text for fact in memory.facts], room.facts))
    bare = Prompt(_system(memory.profile, assistant), (), facts, Turn("user", (message,)))
    known = memory.conversation
    older = max(0, known.seq - len(memory.history)) if known else 0
    kept = history(before, older, max(0, min(room.history, room.window - tokens(bare))))
    summary = fenced("summary", [known.summary]) if known and known.summary and not kept.whole else ""
    turn = Turn("user", (*kept.unanswered, message))
    return Prompt(bare.system, kept.turns, facts, turn, summary=summary)


def _system(profile: Profile, assistant: str) -> str:
    told = {"The user's name": profile.name, "About the user": profile.about}
    about = fenced("profile", [f"{what}: {text}" for what, text in told.items() if text])
    return "\n\n".join(filter(None, [render("system", assistant=profile.assistant_name or assistant), about]))


def _newest(texts: Sequence[str], budget: int) -> list[str]:
    """The last of the texts that fit, in their order."""
    kept: list[str] = []
    for text in reversed(texts):
        budget -= estimate_tokens(text)
        if budget < 0:
            break
        kept.append(text)
    return kept[::-1]
