"""Start: stores a user's message and returns the generation that answers it."""

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
from converse_stream.limits import CurrentUsage, slot
from converse_stream.memory.lookup import Memory
from converse_stream.protocol.errors import ConversationBusy
from converse_stream.protocol.events import Start
from converse_stream.protocol.ids import new_id
from converse_stream.protocol.log import end_of
from converse_stream.service.answer import answer, estimate_of
from converse_stream.service.prompts import begin_recall, completion_of, model_of
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
    at_most: float = float("inf"),
) -> Generation | GenerationRecord:
    """Stores the user's message and returns its generation, not yet running; the existing record for a repeated send.

    The model may answer until a margin before Lambda's deadline, and for `at_most` seconds. Raises BadRequest before
    anything is stored, what `Rules.check` raises, ErasureInProgress, ConversationBusy, IdempotencyKeyReused, NotFound,
    StorageError.
    """
    return _Start(app, user, request, send, context, at_most).run()


class _Start:
    """The state of one start; `run` has the steps in order."""

    def __init__(
        self,
        app: Container,
        user: User,
        request: ChatRequest,
        send: Send,
        context: LambdaContext,
        at_most: float,
    ) -> None:
        self._app = app
        self._user = user
        self._request = request
        self._send = send
        self._context = context
        self._seconds = context.get_remaining_time_in_millis() / 1000
        self._deadline = time.monotonic() + min(self._seconds - app.settings.deadline_margin_seconds, at_most)
        self._lookup_deadline = app.lookup_deadline()  # of all lookups and of the search for facts, together
        self._gid = generation_id(user.key, send.key)
        self._conversation_id = request.conversation_id or derived_conversation(self._gid)
        self._usages = app.usages_of(user)

    def run(self) -> Generation | GenerationRecord:
        logger.append_keys(conversation=self._conversation_id, generation=self._gid)
        memory, usage, user_flags = self._look_up_all()
        if earlier := self._earlier_send(memory):
            return earlier
        used, flags = usage.result(), user_flags.result()
        model = model_of(self._app, self._request, flags)
        self._app.models.check(model, self._request.options)
        if self._is_active_lost(memory):
            # The lost generation is a message now. Reading it may have used all the time of the first lookup.
            self._lookup_deadline = self._app.lookup_deadline()
            memory = memory.updated_with(self._look_up())
            if earlier := self._earlier_send(memory):
                return earlier
        plan = make_plan(self._request, memory, self._gid, self._app.settings.max_continued_bytes)
        record = self._new_record(model, plan)
        taken = slot(record.deadline, self._gid)
        self._usages.admit(self._user.key, self._user.address, taken, used)
        with ExitStack() as unless_started:
            unless_started.callback(self._usages.release, self._user.key, taken)
            pending = begin_recall(self._app, self._user, plan.asked.text, self._lookup_deadline, flags)
            facts, documents = map(unless_started.enter_context, pending)
            complete = self._completion(model, plan, flags)
            asked = complete(memory)
            writer = self._store(replace(record, estimate=estimate_of(self._app, self._user, asked)), plan, memory)
            if isinstance(writer, GenerationRecord):
                return writer
            if self._has_newer_answer(memory, writer):
                memory = memory.updated_with(self._look_up())
                complete = self._completion(model, self._plan_again(plan, memory), flags)
                asked = complete(memory)
            memory = facts.merged_into(memory)
            if memory.sources:
                asked = complete(memory)
            unless_started.pop_all()
        return answer(
            self._app,
            Start(self._conversation_id, record.message_id, self._gid, model),
            plan.asked,
            asked,
            self._user,
            writer,
            self._usages.rules.remaining(used),
            self._deadline,
            self._context,
            before=memory.progress(),
            prefix=plan.prefix,
            search=None if documents.empty else Search(documents, memory, asked, complete),
        )

    def _look_up_all(self) -> tuple[Memory, Future[CurrentUsage], Future[UserFlags]]:
        """The memory, and beside it the user's usage and flags; an error of these is raised where they are used."""
        with ThreadPoolExecutor(2, "limits") as pool:
            usage = pool.submit(self._usages.read, self._user.key, self._user.address)
            flags = pool.submit(self._app.flags.for_user, self._user.key)
            return self._look_up(), usage, flags

    def _look_up(self) -> Memory:
        return self._app.lookup(self._user.key, self._conversation_id, self._gid, self._lookup_deadline)

    def _earlier_send(self, memory: Memory) -> GenerationRecord | None:
        """The record of an earlier try of the same send; read again where the lookup does not say whether it exists."""
        record = memory.earlier
        if record is None and memory.may_have_started(self._gid):
            record = self._app.generations.get(self._user.key, self._gid)
        return self._app.generations.attach(record, self._send.fingerprint) if record else None

    def _is_active_lost(self, memory: Memory) -> bool:
        """Whether another generation was active, and is lost or gone. Raises ConversationBusy while it runs."""
        active = memory.conversation.active if memory.conversation else None
        if active is None or active == self._gid:
            return False
        running = self._app.generations.get_or_reap(self._user.key, active)
        if running and running.status == "run":
            raise ConversationBusy(generation=active)
        return True

    def _new_record(self, model: str, plan: Plan) -> GenerationRecord:
        at = self._app.generations.now()
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
            lease=at + LEASE_MS,
            deadline=at + int(self._seconds * 1000),
        )

    def _completion(self, model: str, plan: Plan, flags: UserFlags) -> Callable[[Memory], Completion]:
        """Builds the prompt from a memory."""

        def complete(memory: Memory) -> Completion:
            return replace(completion_of(self._app, memory, plan, model, self._request.options), stream=flags.streaming)

        return complete

    def _store(self, record: GenerationRecord, plan: Plan, memory: Memory) -> TableWriter | GenerationRecord:
        message, instead = plan.replaces or plan.asked, plan.replaces is not None
        return self._app.generations.start(self._user.key, record, memory.conversation, message, replace_last=instead)

    def _has_newer_answer(self, memory: Memory, writer: TableWriter) -> bool:
        """Whether another answer was stored between the lookup and the start."""
        known = memory.conversation
        return self._request.message is not None and known is not None and writer.record.seq != known.seq + 2

    def _plan_again(self, plan: Plan, memory: Memory) -> Plan:
        return replace(plan, history=tuple(each for each in memory.history if each.generation_id != self._gid))
