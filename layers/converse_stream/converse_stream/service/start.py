"""Start: stores the user's message and returns the generation that answers it."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

from aws_lambda_powertools.utilities.typing import LambdaContext

from converse_stream.auth import User
from converse_stream.container import Container
from converse_stream.flags.feature_flags import UserFlags
from converse_stream.generation.completion import Completion
from converse_stream.generation.generation import Generation
from converse_stream.generation.plan import Plan, make_plan
from converse_stream.generation.search import Search
from converse_stream.http.bodies import ChatRequest, Send
from converse_stream.limits import CurrentUsage, make_slot
from converse_stream.memory.lookup import Memory
from converse_stream.protocol.errors import ConversationBusy
from converse_stream.protocol.events import Start
from converse_stream.protocol.ids import new_id
from converse_stream.protocol.log import end_of
from converse_stream.service.answer import answer, estimate_costs
from converse_stream.service.prompts import (
    begin_recall,
    build_completion,
    choose_model,
    history_progress,
    request_context,
)
from converse_stream.store.generation_record import LEASE_MS, GenerationRecord, generation_id
from converse_stream.store.generation_record import conversation_id as derived_conversation
from converse_stream.store.generation_writer import TableWriter
from converse_stream.telemetry import logger


def start(
    app: Container,
    user: User,
    request: ChatRequest,
    send: Send,
    context: LambdaContext,
    *,
    max_seconds: float = float("inf"),
) -> Generation | GenerationRecord:
    """Stores the user's message and returns its generation, not yet running. For a repeated send: the existing record.

    The generation ends after `max_seconds`, and a margin before Lambda's deadline. Raises before
    anything is stored the errors of `check_model` and `Rules.check`, BadRequest, ConversationBusy, ErasureInProgress,
    IdempotencyKeyReused, NotFound, StorageError.
    """
    return _Start(app, user, request, send, context, max_seconds).run()


class _Start:
    """One start. `run` has the steps in order."""

    def __init__(
        self,
        app: Container,
        user: User,
        request: ChatRequest,
        send: Send,
        context: LambdaContext,
        max_seconds: float,
    ) -> None:
        self._app = app
        self._user = user
        self._request = request
        self._send = send
        self._context = context
        self._seconds = context.get_remaining_time_in_millis() / 1000
        self._deadline = time.monotonic() + min(self._seconds - app.settings.deadline_margin_seconds, max_seconds)
        self._lookup_deadline = app.lookup_deadline()  # of the lookups and of the search for facts
        self._gid = generation_id(user.key, send.key)
        self._conversation_id = request.conversation_id or derived_conversation(self._gid)
        self._usages = app.usages_of(user)
        self._request_context = request_context(app, request)

    def run(self) -> Generation | GenerationRecord:
        logger.append_keys(conversation=self._conversation_id, generation=self._gid)
        memory, pending_usage, pending_flags = self._look_up_all()
        if record := self._record_of_same_send(memory):
            return record
        used, flags = pending_usage.result(), pending_flags.result()
        model = choose_model(self._app, self._user, self._request, flags)
        if self._is_active_lost(memory):
            # The lost generation is a stored message now. To store it may have taken all the time of the first lookup.
            self._lookup_deadline = self._app.lookup_deadline()
            memory = memory.updated_with(self._look_up())
            if record := self._record_of_same_send(memory):
                return record
        plan = make_plan(self._request, memory, self._gid, self._app.settings.max_continued_bytes)
        record = self._new_record(model, plan)
        slot = make_slot(record.deadline, self._gid)
        self._usages.admit(self._user.key, self._user.address, slot, used)
        with ExitStack() as undo:
            undo.callback(self._usages.release, self._user.key, slot)
            pending = begin_recall(self._app, self._user, plan, self._lookup_deadline, flags)
            facts, documents = map(undo.enter_context, pending)
            build = self._completion_builder(model, plan, flags)
            completion = build(memory)
            writer = self._store(
                replace(record, estimate=estimate_costs(self._app, self._user, completion)), plan, memory
            )
            if isinstance(writer, GenerationRecord):
                return writer
            if self._has_newer_answer(memory, writer):
                memory = memory.updated_with(self._look_up())
                build = self._completion_builder(model, self._with_new_history(plan, memory), flags)
                completion = build(memory)
            memory = facts.merged_into(memory)
            if memory.sources:
                completion = build(memory)
            undo.pop_all()
        return answer(
            self._app,
            Start(self._conversation_id, record.message_id, self._gid, model),
            plan.user_message,
            completion,
            self._user,
            writer,
            self._usages.rules.remaining(used),
            self._deadline,
            self._context,
            preamble=[*memory.progress(), *history_progress(completion.prompt)],
            prefix=plan.prefix,
            search=None if documents.empty else Search(documents, memory, completion, build),
        )

    def _look_up_all(self) -> tuple[Memory, Future[CurrentUsage], Future[UserFlags]]:
        """Reads the memory, the usage and the flags in parallel. The futures raise the errors of the last two."""
        with ThreadPoolExecutor(2, "limits") as pool:
            pending_usage = pool.submit(self._usages.read, self._user.key, self._user.address)
            pending_flags = pool.submit(self._app.flags.for_user, self._user.key)
            return self._look_up(), pending_usage, pending_flags

    def _look_up(self) -> Memory:
        return self._app.lookup(self._user.key, self._conversation_id, self._gid, self._lookup_deadline)

    def _record_of_same_send(self, memory: Memory) -> GenerationRecord | None:
        """The record of an earlier request with the same idempotency key, None if this is the first one.

        The record is read again if the lookup does not tell whether there is one. Raises IdempotencyKeyReused.
        """
        record = memory.earlier
        if record is None and memory.may_have_started(self._gid):
            record = self._app.generations.get(self._user.key, self._gid)
        return self._app.generations.attach(record, self._send.fingerprint) if record else None

    def _is_active_lost(self, memory: Memory) -> bool:
        """Whether the conversation names another active generation that does not run any more.

        Raises ConversationBusy if it runs.
        """
        active = memory.conversation.active if memory.conversation else None
        if active is None or active == self._gid:
            return False
        running = self._app.generations.get_or_reap(self._user.key, active)
        if running and running.status == "run":
            raise ConversationBusy(generation=active)
        return True

    def _new_record(self, model: str, plan: Plan) -> GenerationRecord:
        now = self._app.generations.now()
        return GenerationRecord(
            gid=self._gid,
            status="run",
            owner=new_id(),
            fingerprint=self._send.fingerprint,
            conversation=self._conversation_id,
            seq=0,
            message_id=new_id(),
            model=model,
            length=end_of(plan.prefix),
            tail_start=0,
            tail=plan.prefix,
            lease=now + LEASE_MS,
            deadline=now + int(self._seconds * 1000),
        )

    def _completion_builder(self, model: str, plan: Plan, flags: UserFlags) -> Callable[[Memory], Completion]:
        """Returns a function that builds the completion from a memory."""

        def build(memory: Memory) -> Completion:
            options = self._request.options
            completion = build_completion(self._app, memory, plan, model, options, self._request_context)
            return replace(completion, stream=flags.streaming)

        return build

    def _store(self, record: GenerationRecord, plan: Plan, memory: Memory) -> TableWriter | GenerationRecord:
        """Stores the message and the record in one transaction. Returns the writer, or the record of the same send."""
        message, replaces = plan.replaces or plan.user_message, plan.replaces is not None
        return self._app.generations.start(self._user.key, record, memory.conversation, message, replace_last=replaces)

    def _has_newer_answer(self, memory: Memory, writer: TableWriter) -> bool:
        """Whether another answer was stored between the lookup and the start."""
        conversation = memory.conversation
        if self._request.message is None or conversation is None:
            return False
        return writer.record.seq != conversation.seq + 2

    def _with_new_history(self, plan: Plan, memory: Memory) -> Plan:
        return replace(plan, history=tuple(message for message in memory.history if message.generation_id != self._gid))
