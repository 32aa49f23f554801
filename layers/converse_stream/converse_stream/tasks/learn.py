"""What is learned of one answer, step by step; each step is stored in one transaction, under its own condition.

    title      of a conversation that has none
    facts      that the user said of themselves, and what they call the assistant; once for each message
    summary    of what will soon be too long ago for the prompt; if nobody has written another one
    label      which of the deployment's labels fits the message; it starts the deployment's own task; at most once

All of them only while the user lets us learn. A step that fails does not keep the others from theirs. The task fails
after them, and is tried again, where that may help.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from converse_stream.prompts.history import without_filtered
from converse_stream.protocol.errors import (
    BudgetExhausted,
    ChatError,
    DispatchFailed,
    NotFound,
    Paused,
)
from converse_stream.protocol.ids import now
from converse_stream.protocol.tokens import estimate_tokens
from converse_stream.store.conversations import Conversation
from converse_stream.store.facts import Fact
from converse_stream.store.generation_record import GenerationRecord
from converse_stream.tasks import text_tasks
from converse_stream.tasks.events import LearnTask
from converse_stream.tasks.extraction import extract
from converse_stream.tasks.task_model import TaskModel
from converse_stream.telemetry import logger

if TYPE_CHECKING:
    from converse_stream.container import Container


def learn(task: LearnTask, app: "Container", ask: TaskModel) -> list[str]:
    """The steps that were taken now; none where learning is off, nothing may be spent, or the answer is not there.

    Raises the first step's failure that may pass after all had their turn, FlagsUnknown and StorageError.
    """
    logger.append_keys(user=task.user[:12], generation=task.generation)
    record = app.generations.get(task.user, task.generation)
    if record is None or not app.learning.is_enabled_for(task.user):
        return []
    conversation = app.conversations.get(task.user, record.conversation)
    if conversation.deleted or not app.facts.profile(task.user).learning:
        return []
    try:
        asked, _ = app.conversations.exchange(task.user, conversation.id, record.seq, record.gid)
        app.usages.check_spending(task.user)
    except (NotFound, Paused, BudgetExhausted) as reason:
        logger.info("nothing is learned", extra={"code": reason.code})
        return []
    try:
        return Learner(app, ask, task.user, record, conversation, asked.text).take()
    finally:
        app.usages.count(task.user, ask.spent)


@dataclass(frozen=True, slots=True)
class Learner:
    """`asked` is the user's message, before the answer that is at the head's place."""

    app: "Container"
    ask: TaskModel
    user: str
    record: GenerationRecord
    conversation: Conversation
    asked: str

    def take(self) -> list[str]:
        """See `learn`."""
        taken, failures = [], []
        before = self.app.learned_marks.steps(self.user, self.conversation.id, self.record.seq - 1)
        steps = {"title": self.title, "facts": self.facts, "summary": self.summary, "label": self.label}
        for name, step in steps.items():
            if name in before:
                continue
            try:
                if step():
                    taken.append(name)
            except ChatError as error:
                logger.warning("a step of learning failed", extra={"step": name, "code": error.code})
                failures += [error] if error.retryable else []
        logger.info("learned", extra={"steps": taken})
        if failures:
            raise failures[0]
        return taken

    def title(self) -> bool:
        """Never over one that there is. Whether it was stored; so do the other steps."""
        title = "" if self.conversation.title else text_tasks.title(self.ask, self.asked)
        if not title:
            return False
        return self._store(
            self.app.conversations.set_title_if_missing(self.user, self.conversation.id, title), self._learning_allowed
        )

    def facts(self) -> bool:
        """As many as there is room for: what is learned takes half of it at the most, the rest is the user's own."""
        settings, store = self.app.settings, self.app.facts
        known = store.all(self.user)
        learned = sum(fact.source != "user" for fact in known)
        room = min(settings.max_facts // 2 - learned, settings.max_facts - len(known))
        if room <= 0:
            return False
        texts = [fact.text for fact in known]
        found = extract(self.ask, self.asked, texts, tokens=settings.facts_tokens, longest=settings.max_fact_chars)
        facts = [
            Fact(each.id, each.text, each.kind, self.conversation.id, now(), round(each.confidence, 2))
            for each in found.facts[:room]
        ]
        # Two parts of a transaction cannot be about one item, so the name has the condition in it.
        named = store.named(self.user, found.assistant) if found.assistant else self._learning_allowed
        return self._store(self._mark("facts"), *store.learned(self.user, facts), named)

    def summary(self) -> bool:
        """Rolling: when what it does not hold yet is half of what a prompt holds, that is added to it."""
        settings, conversation, place = self.app.settings, self.conversation, self.record.seq
        held = conversation.summary_seq if conversation.summary else 0
        lacking = min(place - held, max(2, settings.history_messages))
        if lacking <= 0:
            return False
        stored, _ = self.app.conversations.messages(self.user, conversation.id, limit=lacking, before=place + 1)
        new = without_filtered(stored)
        size = sum(estimate_tokens(message.text) for message in new)
        if not new or (2 * len(new) < settings.history_messages and 2 * size < settings.history_tokens):
            return False
        said = text_tasks.summary(self.ask, conversation.summary, new)
        if not said:
            return False
        written = self.app.conversations.summarized(self.user, conversation, said, place, new[0].created_at)
        return self._store(written, self._learning_allowed)

    def label(self) -> bool:
        """Marked before the deployment's function starts, so that of two deliveries of this task one starts it.

        Where it cannot be started the mark is taken back.
        """
        settings, learned = self.app.settings, self.app.learned_marks
        if not settings.classify_function:
            return False
        label = text_tasks.label(self.ask, self.asked, settings.labels)
        if not self._store(self._mark("label"), self._learning_allowed):
            return False
        if label:
            event = {"label": label, "user": self.user, "conversation": self.conversation.id}
            try:
                self.app.learning.start(settings.classify_function, {**event, "generation": self.record.gid})
            except DispatchFailed:
                learned.take_back(self.user, self.conversation.id, self.record.seq - 1, "label")
                raise
        return True

    def _store(self, *writes: Any) -> bool:
        return self.app.learned_marks.store(writes)

    @property
    def _learning_allowed(self) -> Any:
        return self.app.facts.learning_allowed(self.user)

    def _mark(self, step: str) -> Any:
        return self.app.learned_marks.mark(self.user, self.conversation.id, self.record.seq - 1, step)
