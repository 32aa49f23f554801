"""Extracts facts about the user from the user's message, and finds the known facts that it makes wrong.

Only the message is a source. The answer before it is shown to the model, because a message may be a reply to it, but
it may repeat a document or the output of a tool, which must not become a fact about the user.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from converse_stream.http.bodies import AssistantName
from converse_stream.memory.ranking import fit_budget, rank
from converse_stream.protocol.fields import normalize
from converse_stream.store.facts import Fact, SearchableFact
from converse_stream.tasks import extraction_answer, extraction_prompt
from converse_stream.tasks.extraction_answer import Answer
from converse_stream.tasks.extraction_prompt import MAX_FACTS, MAX_MESSAGE, SCHEMA, UserMessage
from converse_stream.tasks.task_model import TaskModel
from converse_stream.tasks.whole_words import whole_words
from converse_stream.telemetry import logger

MIN_CONFIDENCE = 0.5  # of a fact that is stored
MAX_REMOVED = 5  # known facts that one message may remove
MAX_TOKENS = 800  # of the answer

_Name = TypeAdapter[str](AssistantName)


@dataclass(frozen=True, slots=True)
class Limits:
    """`tokens` of the known facts in the prompt, `max_chars` (code points) of a fact, and what it must not contain."""

    tokens: int
    max_chars: int
    never: Sequence[re.Pattern[str]] = ()


@dataclass(frozen=True, slots=True)
class FoundFact:
    """A new fact. `replaces` are learned facts that it replaces."""

    text: str
    kind: str
    confidence: float
    replaces: tuple[Fact, ...] = ()

    @property
    def id(self) -> str:
        """The fact's id: a hash of its words. Two concurrent tasks that find the same fact store one item."""
        digest = hashlib.sha256(" ".join(_words(self.text)).encode()).digest()
        return base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Extraction:
    """The result of an extraction. `outdated` are learned facts that are not true any more.

    `assistant` is the name that the user gives the assistant.
    """

    facts: Sequence[FoundFact] = ()
    outdated: Sequence[Fact] = ()
    assistant: str | None = None

    def fitting(self, capacity: int) -> tuple[list[FoundFact], list[Fact]]:
        """The facts to store and those to remove, if there is space for `capacity` more facts than now.

        A replacement needs no space, so replacements come first. At most `MAX_REMOVED` facts are removed.
        """
        removed = list(self.outdated)[:MAX_REMOVED]
        capacity += len(removed)
        stored = []
        for fact in sorted(self.facts, key=lambda each: not each.replaces):
            replaced = [each for each in fact.replaces if each not in removed][: MAX_REMOVED - len(removed)]
            if capacity + len(replaced) > 0:
                capacity += len(replaced) - 1
                removed += replaced
                stored.append(fact)
        return stored, removed


def extract(ask: TaskModel, message: UserMessage, known: Sequence[Fact], limits: Limits) -> Extraction:
    """What `message` teaches that is not in `known`, which is oldest first. Raises the errors of `ask`.

    The prompt has those of the `known` facts that fit. Invalid parts of the model's answer are ignored. If it cannot be
    read at all, the model is asked once more.
    """
    shown = _nearest(known, message.text, limits.tokens)
    answer = _ask(ask, message, shown)
    seen, kept = {_words(each.text) for each in known} | {()}, {_words(each.text) for each in answer.facts}

    def removable(numbers: Iterable[int]) -> list[Fact]:
        # A known fact that the answer also gives as a fact is still true.
        return [fact for fact in _older(numbers, shown, message) if _words(fact.text) not in kept]

    facts, outdated = [], removable(answer.outdated)
    for found in answer.facts:
        if found.confidence < MIN_CONFIDENCE or len(found.text) > limits.max_chars or _is_refused(found.text, limits):
            continue
        if _words(found.text) in seen:
            outdated += removable(found.replaces)
        else:
            seen.add(_words(found.text))
            facts.append(FoundFact(found.text, found.kind, found.confidence, tuple(removable(found.replaces))))
    name = _name(answer.assistant, message.text, limits)
    return Extraction(facts[:MAX_FACTS], list(dict.fromkeys(outdated)), name)


def _ask(ask: TaskModel, message: UserMessage, shown: Sequence[Fact]) -> Answer:
    """The model's answer; an empty one if a filter stopped it, or if two answers cannot be read."""
    facts = extraction_prompt.known_facts([fact.text for fact in shown])
    for again in (False, True):
        text = extraction_prompt.message_text(message, again=again)
        raw = ask(extraction_prompt.system(), text, MAX_TOKENS, facts=facts, schema=SCHEMA)
        if not raw.strip():
            return Answer()
        if (answer := extraction_answer.read(raw)) is not None:
            return answer
    logger.warning("extraction not readable", extra={"length": len(raw)})
    return Answer()


def _nearest(known: Sequence[Fact], message: str, tokens: int) -> list[Fact]:
    """Those of the `known` facts that fit into `tokens`, the most relevant to the message."""
    facts = [SearchableFact(str(index), fact.text) for index, fact in enumerate(known)]
    question = normalize(message)[:MAX_MESSAGE]
    return [known[int(fact.id)] for fact in fit_budget(facts, tokens, lambda: rank(facts, question, None))]


def _older(numbers: Iterable[int], shown: Sequence[Fact], message: UserMessage) -> list[Fact]:
    """The facts with these numbers that were learned from earlier messages.

    Only the user may delete what the user wrote. A later message is right, if this task runs late.
    """
    facts = [shown[number - 1] for number in dict.fromkeys(numbers) if 1 <= number <= len(shown)]
    return [fact for fact in facts if fact.source != "user" and fact.created_at < message.sent_at]


def _is_refused(text: str, limits: Limits) -> bool:
    from converse_stream.tasks.never_stored import refusal  # its patterns cost a start

    reason = refusal(text, limits.never)
    if reason:
        logger.info("fact not stored", extra={"reason": reason})
    return reason is not None


def _name(value: object, message: str, limits: Limits) -> str | None:
    """The assistant's name; None if the message does not contain it, because a model may invent a name."""
    try:
        name = _Name.validate_python(value)
    except ValidationError:
        return None
    found = re.search(whole_words(name), normalize(message)[:MAX_MESSAGE])
    return name if found and not _is_refused(name, limits) else None


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", text.casefold()))
