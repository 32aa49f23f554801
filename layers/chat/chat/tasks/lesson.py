"""What is learned of one answer, step by step; each step is stored with its mark, so none is taken twice.

    title      of a conversation that has none
    facts      that the user said of themselves, and what they call the assistant
    summary    of what will soon be too long ago for the prompt
    label      which of the deployment's labels fits the message; it starts the deployment's own task

A step that fails does not keep the others from theirs. The task fails after them, and is tried again, where that may
help.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chat.errors import ChatError
from chat.events import Message
from chat.ids import now
from chat.prompts.prompt import estimate_tokens
from chat.requests import LearnTask
from chat.store.conversations import Conversation
from chat.store.facts import Fact
from chat.store.head import Head
from chat.tasks import wording
from chat.tasks.asker import Asker
from chat.tasks.extraction import extract
from chat.telemetry import logger

if TYPE_CHECKING:
    from chat.application import Application


def learn(task: LearnTask, app: "Application", ask: Asker) -> list[str]:
    """The steps that were taken now; none where learning is off, or the answer is no longer there.

    Raises the first step's failure that may pass after all had their turn, and StorageError.
    """
    logger.append_keys(user=task.user[:12], generation=task.generation)
    head = app.generations.head(task.user, task.generation)
    if head is None or not app.learning.wanted(task.user):
        return []
    conversation, recent = app.conversations.recent(task.user, head.conversation, app.settings.history_messages)
    facts, profile = app.facts.all(task.user), app.facts.profile(task.user)
    places = [place for place, each in enumerate(recent) if each.id == head.message_id]
    if not (places and places[0] and profile.learning) or conversation.deleted:
        return []
    return Lesson(app, ask, task.user, head, conversation, recent[: places[0] + 1], facts).take()


@dataclass(frozen=True, slots=True)
class Lesson:
    """`messages` are the last ones of the conversation up to the answer that is learned from."""

    app: "Application"
    ask: Asker
    user: str
    head: Head
    conversation: Conversation
    messages: Sequence[Message]
    known: Sequence[Fact]

    def take(self) -> list[str]:
        """See `learn`."""
        taken, failures = [], []
        steps = {"title": self.title, "facts": self.facts, "summary": self.summary, "label": self.label}
        for name, step in steps.items():
            if name in self.head.learned:
                continue
            try:
                if self._take(name, step):
                    taken.append(name)
            except ChatError as error:
                logger.warning("a step of learning failed", extra={"step": name, "code": error.code})
                failures += [error] if error.retryable else []
        logger.info("learned", extra={"steps": taken})
        if failures:
            raise failures[0]
        return taken

    def _take(self, name: str, step: Callable[[], Sequence[Any] | None]) -> bool:
        writes = step()
        if writes is None:
            return False
        return self.app.learned.store(self.user, self.head.gid, name, writes, self.ask.bill())

    def title(self) -> Sequence[Any] | None:
        """Never over one that there is."""
        if self.conversation.title:
            return None
        title = wording.title(self.ask, self._asked)
        return [self.app.conversations.entitled(self.user, self.conversation.id, title)] if title else []

    def facts(self) -> Sequence[Any] | None:
        """As many as there is room for: what is learned takes half of it at the most, the rest is the user's own."""
        settings, store = self.app.settings, self.app.facts
        learned = sum(fact.source != "user" for fact in self.known)
        room = min(settings.max_facts // 2 - learned, settings.max_facts - len(self.known))
        if room <= 0:
            return None
        known = [fact.text for fact in self.known]
        found = extract(self.ask, self._asked, known, tokens=settings.facts_tokens, longest=settings.max_fact_chars)
        facts = [
            Fact(each.id, each.text, each.kind, self.conversation.id, now(), round(each.confidence, 2))
            for each in found.facts[:room]
        ]
        named = [store.named(self.user, found.assistant)] if found.assistant else []
        return [*store.learned(self.user, facts), *named]

    def summary(self) -> Sequence[Any] | None:
        """Rolling: when what it does not hold yet is half of what a prompt holds, that is added to it."""
        settings, conversation = self.app.settings, self.conversation
        new = self.messages[max(0, len(self.messages) - (self.head.place - conversation.summarised)) :]
        size = sum(estimate_tokens(message.text) for message in new)
        if 2 * len(new) < settings.history_messages and 2 * size < settings.history_tokens:
            return None
        said = wording.summary(self.ask, conversation.summary, new)
        if not said:
            return []
        return [self.app.conversations.summarised(self.user, conversation, said, self.head.place)]

    def label(self) -> Sequence[Any] | None:
        """Lambda may start an asynchronous task twice anyway, so its own has to look at the generation's id."""
        settings = self.app.settings
        if not settings.classify_function:
            return None
        if label := wording.label(self.ask, self._asked, settings.labels):
            event = {"label": label, "user": self.user, "conversation": self.conversation.id}
            self.app.learning.start(settings.classify_function, {**event, "generation": self.head.gid})
        return []

    @property
    def _asked(self) -> str:
        return self.messages[-2].text
