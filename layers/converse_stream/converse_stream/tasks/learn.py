"""The task `learn`: the steps after an answer. Each step is stored in one conditional transaction.

    title      of a conversation without a title, unless the user's message only greets
    facts      about the user, from the user's message, and the name that the user gives the assistant; once a message.
               Removes learned facts that the message makes wrong
    label      the one of the deployment's labels that fits the message; starts the deployment's own task at most once
    summary    of the messages that will soon not fit into the prompt; unless another summary was stored since. It is
               the last step, because it may take several calls of the model

All steps require that the user allows learning. If a step fails, the other steps still run. After them the task fails
and is retried, if the error is retryable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from converse_stream.memory.greetings import is_greeting
from converse_stream.prompts.history import estimate_correction, without_filtered
from converse_stream.protocol.errors import (
    BudgetExhausted,
    ChatError,
    DispatchFailed,
    NotFound,
    Paused,
    StorageError,
)
from converse_stream.protocol.tokens import estimate_tokens
from converse_stream.store.conversations import Conversation
from converse_stream.store.facts import Fact
from converse_stream.store.generation_record import GenerationRecord
from converse_stream.tasks import labels, summaries, titles
from converse_stream.tasks.events import LearnTask
from converse_stream.tasks.extraction import Limits, extract
from converse_stream.tasks.extraction_prompt import UserMessage
from converse_stream.tasks.summaries import NumberedMessage
from converse_stream.tasks.task_model import TaskModel
from converse_stream.telemetry import logger

if TYPE_CHECKING:
    from converse_stream.container import Container


def learn(task: LearnTask, app: "Container", ask: TaskModel) -> list[str]:
    """Runs the steps and returns the names of those that stored something.

    None run if learning is disabled, the budget is exhausted, or the answer does not exist any more. Raises the first
    retryable error of a step, after all steps, FlagsUnavailable and StorageError.
    """
    logger.append_keys(user=task.user[:12], generation=task.generation)
    record = app.generations.get(task.user, task.generation)
    if record is None or not app.learning.is_enabled_for(task.user):
        return []
    conversation = app.conversations.get(task.user, record.conversation)
    if conversation.deleted or not app.facts.profile(task.user).learning:
        return []
    try:
        message, _ = app.conversations.exchange(task.user, conversation.id, record.seq, record.gid)
        app.usages.check_spending(task.user)
    except (NotFound, Paused, BudgetExhausted) as reason:
        logger.info("learning skipped", extra={"code": reason.code})
        return []
    try:
        return LearnSteps(app, ask, task.user, record, conversation, message.text, message.created_at).run()
    finally:
        app.usages.count(task.user, ask.spent)


@dataclass(frozen=True, slots=True)
class LearnSteps:
    """The steps for one answer. `record` is the generation of the answer.

    `message` is the text of the user's message, `sent_at` its time (ISO 8601, UTC).
    """

    app: "Container"
    ask: TaskModel
    user: str
    record: GenerationRecord
    conversation: Conversation
    message: str
    sent_at: str

    def run(self) -> list[str]:
        """See `learn`."""
        completed, failures = [], []
        marked = self.app.learned_marks.steps(self.user, self.conversation.id, self.record.seq - 1)
        steps = {"title": self.title, "facts": self.facts, "label": self.label, "summary": self.summary}
        for name, step in steps.items():
            if name in marked:
                continue
            try:
                if step():
                    completed.append(name)
            except ChatError as error:
                logger.warning("learning step failed", extra={"step": name, "code": error.code})
                failures += [error] if error.retryable else []
        logger.info("learned", extra={"steps": completed})
        if failures:
            raise failures[0]
        return completed

    def title(self) -> bool:
        """Stores a title, if there is none. Returns whether it was stored, as the other steps do.

        The title is of the first message that does not only greet: later messages find a title.
        """
        if self.conversation.title or is_greeting(self.message):
            return False
        title = titles.title(self.ask, self.message)
        if not title:
            return False
        return self._store(
            self.app.conversations.first_title_part(self.user, self.conversation.id, title), self._learning_allowed
        )

    def facts(self) -> bool:
        """Stores facts and the assistant's name, and removes facts that are not true any more.

        Learned facts use at most half of `max_facts`. Raises StorageError if a fact to remove was learned again
        meanwhile: then the message must be compared with the new facts.
        """
        settings, store = self.app.settings, self.app.facts
        known = store.all(self.user)
        learned = sum(fact.source != "user" for fact in known)
        capacity = min(settings.max_facts // 2 - learned, settings.max_facts - len(known))
        if capacity <= 0 and not learned:  # no space, and no fact that could be replaced
            return False
        limits = Limits(settings.facts_tokens, settings.max_fact_chars, settings.never_learn)
        message = UserMessage(self.message, self.sent_at, self._answer_before())
        extraction = extract(self.ask, message, known, limits)
        found, removed = extraction.fitting(capacity)
        source, number = self.conversation.id, self.record.seq - 1
        facts = [
            Fact(each.id, each.text, each.kind, source, self.sent_at, round(each.confidence, 2), number)
            for each in found
        ]
        # A transaction can have only one part for each item, so the part that sets the name also has the condition.
        name = extraction.assistant
        profile_part = store.assistant_name_part(self.user, name) if name else self._learning_allowed
        parts = [*store.learned_parts(self.user, facts), *store.removal_parts(self.user, removed)]
        if self._store(self._mark("facts"), *parts, profile_part):
            return True
        current = {fact.id: fact for fact in store.all(self.user)} if removed else {}
        if any(current.get(fact.id, fact).created_at != fact.created_at for fact in removed):
            raise StorageError
        return False

    def _answer_before(self) -> str:
        """The text of the assistant's answer before the message; empty if there is none, or if a filter stopped it."""
        if self.record.seq <= 2:
            return ""
        conversations, number = self.app.conversations, self.record.seq - 1
        before, _ = conversations.messages(self.user, self.conversation.id, limit=1, before=number)
        return "".join(each.text for each in without_filtered(before) if each.role == "assistant")

    def summary(self) -> bool:
        """Extends the summary, when the messages that it lacks fill half of the history of a prompt.

        So the messages that leave the history are in the summary, if each prompt has at least the newest half.
        """
        conversation = self.conversation
        stored, new = self._unsummarized()
        if not new or not self._fill_half(stored):
            return False
        summary = summaries.summarize(self.ask, conversation.summary, new)
        if summary is None:
            return False
        # Messages that are not part of the summary, such as filtered ones, may follow the last one that is.
        seq = stored[-1].number if summary.seq == new[-1].number else summary.seq
        oldest = new[0].message.created_at
        summary_part = self.app.conversations.summary_part(self.user, conversation, summary.text, seq, oldest)
        return self._store(summary_part, self._learning_allowed)

    def _unsummarized(self) -> tuple[Sequence[NumberedMessage], Sequence[NumberedMessage]]:
        """The oldest messages that the summary lacks, up to this answer, and those of them that it may have.

        They are at most as many as in two histories, so a long conversation without a summary gets it in several tasks.
        An expired summary is replaced by one of the newest messages: one of the oldest would expire soon, too.
        """
        conversation, seq = self.conversation, self.record.seq
        history_messages = max(2, self.app.settings.history_messages)
        limit, after = 2 * history_messages, conversation.summary_seq
        if after and not conversation.summary:
            after = max(0, seq - history_messages)
        while True:
            read = self.app.conversations.oldest_messages(
                self.user, conversation.id, after=after, until=seq, limit=limit
            )
            stored = [NumberedMessage(number, message) for number, message in read]
            allowed = {message.id for message in without_filtered([each.message for each in stored])}
            new = [each for each in stored if each.message.id in allowed and each.message.text.strip()]
            if new or len(read) < limit:
                return stored, new
            after = stored[-1].number

    def _fill_half(self, stored: Sequence[NumberedMessage]) -> bool:
        """Whether the messages fill half of the history of a prompt."""
        messages, settings = [each.message for each in stored], self.app.settings
        size = sum(estimate_tokens(message.text) for message in messages)
        size = round(size * estimate_correction(messages, self.record.model))
        return 2 * len(stored) >= settings.history_messages or 2 * size >= settings.history_tokens

    def label(self) -> bool:
        """Chooses a label, and starts the deployment's function with it.

        The step is marked before the function is started: if this task is delivered twice, only one delivery starts it.
        The mark is removed if the function cannot be started.
        """
        settings, marks = self.app.settings, self.app.learned_marks
        if not settings.classify_function:
            return False
        label = labels.label(self.ask, self.message, settings.labels)
        if not self._store(self._mark("label"), self._learning_allowed):
            return False
        if label:
            event = {"label": label, "user": self.user, "conversation": self.conversation.id}
            try:
                self.app.learning.start(settings.classify_function, {**event, "generation": self.record.gid})
            except DispatchFailed:
                marks.unmark(self.user, self.conversation.id, self.record.seq - 1, "label")
                raise
        return True

    def _store(self, *parts: Any) -> bool:
        return self.app.learned_marks.store(parts)

    @property
    def _learning_allowed(self) -> Any:
        return self.app.facts.learning_allowed_part(self.user)

    def _mark(self, step: str) -> Any:
        return self.app.learned_marks.mark_part(self.user, self.conversation.id, self.record.seq - 1, step)
