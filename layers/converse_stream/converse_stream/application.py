"""Everything that lives as long as the execution environment, built once, in this one place."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property

import boto3
from aws_lambda_powertools.utilities.typing import LambdaContext

from converse_stream import components
from converse_stream.auth import User, authenticator
from converse_stream.aws import deadlines
from converse_stream.aws.connection_pools import IDLE_CONNECTION
from converse_stream.aws.connections import open_connections
from converse_stream.dispatch.deletion import Deletion
from converse_stream.dispatch.learning import SECONDS as DISPATCH_SECONDS
from converse_stream.dispatch.learning import Invoker, Learning
from converse_stream.flags.feature_flags import UserFlags, flags_of
from converse_stream.generation.completion import Completion, Preview
from converse_stream.generation.follower import Follower
from converse_stream.generation.generation import Generation, GenerationLimits, ModelEvents
from converse_stream.generation.plan import Plan, plan_of
from converse_stream.generation.search import Search
from converse_stream.http.bodies import ChatRequest, Options, Send
from converse_stream.limits import Budget, budget_exhausted, slot
from converse_stream.memory.citations import cited
from converse_stream.memory.knowledge_base import KnowledgeBase
from converse_stream.memory.lookup import LOOKUPS, Lookup, Memory
from converse_stream.memory.recall import MemoryStore, PendingRecall, Recall
from converse_stream.model import transport
from converse_stream.model.client import ModelClient
from converse_stream.model.transport import Bedrock, Call
from converse_stream.prompts import builder, prompt
from converse_stream.prompts.builder import PromptBudget
from converse_stream.protocol.errors import (
    BadRequest,
    ConversationBusy,
    NotActive,
    NotFound,
)
from converse_stream.protocol.events import (
    Event,
    Message,
    Start,
    Usage,
)
from converse_stream.protocol.ids import age, new_id, now
from converse_stream.protocol.log import Entry, end_of
from converse_stream.settings import Settings
from converse_stream.store.conversations import Conversations
from converse_stream.store.erasure import Erasure
from converse_stream.store.facts import Facts
from converse_stream.store.generation_record import (
    LEASE,
    Estimate,
    GenerationRecord,
    generation_id,
)
from converse_stream.store.generation_record import conversation_id as derived_conversation
from converse_stream.store.generation_writer import GenerationWriter
from converse_stream.store.generations import Generations
from converse_stream.store.learned_marks import Learned
from converse_stream.store.retention import Retention
from converse_stream.store.table import Table
from converse_stream.store.usage import SIDE_BY_SIDE, UsageStore
from converse_stream.store.usage_writer import UsageWriter
from converse_stream.telemetry import logger

CONNECT_SECONDS = 2.0  # that the first connections may take; Lambda gives the whole init 10
FACT_EMBEDDING_SECONDS = 2.0  # seconds for a fact's; nobody waits for that answer as for a question's


class Application:
    """The chat behind both functions."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.authenticate = authenticator(settings)
        store = components.store_client()
        lookups = deadlines.client("dynamodb", settings.cold_memory_seconds)
        quick = Table(lookups, settings.table_name)
        bedrock = boto3.client("bedrock-runtime", config=transport.config(idle_seconds=settings.model_idle_seconds))
        self._table = Table(store, settings.table_name)
        self.conversations = Conversations(self._table, Retention(settings.retention_days))
        self.generations = Generations(self._table, self.conversations)
        self.erasure = Erasure(self._table, self.conversations, self.generations)
        self.facts = Facts(self._table, components.embedder(settings, FACT_EMBEDDING_SECONDS))
        self.learned = Learned(self._table)
        self._flags = flags_of(settings)
        tasks = settings.task_function or settings.aws_lambda_function_name
        self.learning = Learning(self._invoker if settings.learning == "enabled" else None, tasks, self._flags)
        self.deletion = Deletion(self.erasure, lambda: self._invoker, tasks)
        rules = components.rules(settings)
        self.usages = UsageStore(self._table, rules)
        self._own_usages = UsageStore(self._table, rules.without_costs())  # of users who bring a key of their own
        self._lookup = Lookup(quick, messages=settings.history_messages)
        self._recall = Recall({"facts": components.fact_memory(settings, quick)})
        documents, stores = [], dict[str, MemoryStore]()
        if settings.knowledge_base_id:
            documents = [deadlines.client("bedrock-agent-runtime", settings.documents_seconds)]
            base = KnowledgeBase(documents[0], settings.knowledge_base_id, tokens=settings.documents_tokens)
            stores = {"documents": base}
        self._documents = Recall(stores)
        catalog, guardrail = components.catalog(settings), components.guardrail(settings)
        self.models = ModelClient(Bedrock(bedrock), catalog, settings.models, guardrail)
        self._looked_up = 0.0  # when, of the wall clock: a frozen sandbox stops the monotonic one
        open_connections([*[store] * SIDE_BY_SIDE, *[lookups] * LOOKUPS, bedrock, *documents], CONNECT_SECONDS)

    @cached_property
    def _invoker(self) -> Invoker:
        invoker: Invoker = deadlines.client("lambda", DISPATCH_SECONDS)
        return invoker

    @classmethod
    def from_environment(cls) -> "Application":
        """Raises SettingsError, and then the function does not start."""
        return cls(Settings.from_environment())

    def start(
        self,
        user: User,
        request: ChatRequest,
        send: Send,
        context: LambdaContext,
        *,
        at_most: float = float("inf"),
    ) -> "Generation | GenerationRecord":
        """Stores the user's message and returns its turn, not yet begun; the generation's head for a repeated send.

        The model may speak until a margin before Lambda's deadline, and for `at_most` seconds. Raises BadRequest
        before anything is stored, what `Rules.check` raises, BeingErased, ConversationBusy, KeyReused, NotFound,
        StorageError.
        """
        left = context.get_remaining_time_in_millis() / 1000
        deadline = time.monotonic() + min(left - self.settings.deadline_margin_seconds, at_most)
        soon = self._lookup_deadline()  # for all that is looked up and searched, together
        gid = generation_id(user.key, send.key)
        conversation_id = request.conversation_id or derived_conversation(gid)
        logger.append_keys(conversation=conversation_id, generation=gid)
        usages = self._usages_of(user)
        with ThreadPoolExecutor(2, "limits") as pool:
            looked = pool.submit(usages.look, user.key, user.address)
            flagged = pool.submit(self._flags.of, user.key)
            memory = self._lookup(user.key, conversation_id, gid, soon)
        if earlier := self._earlier(user, gid, memory):
            return self.generations.attach(earlier, send.fingerprint)
        used, flags = looked.result(), flagged.result()
        alias = self._alias(request, flags)
        self.models.check(alias, request.options)
        active = memory.conversation.active if memory.conversation else None
        if active is not None and active != gid:
            running = self.generations.alive(user.key, active)
            if running and running.status == "run":
                raise ConversationBusy(generation=active)
            # What was lost is an answer now; to find that out may have taken all the time that there was.
            soon = self._lookup_deadline()
            memory = memory.renewed(self._lookup(user.key, conversation_id, gid, soon))
            if earlier := self._earlier(user, gid, memory):
                return self.generations.attach(earlier, send.fingerprint)
        plan = plan_of(request, memory, gid, self.settings.max_continued_bytes)

        def completed(memory: Memory) -> Completion:
            return replace(self._completion(memory, plan, alias, request.options), stream=flags.streaming)

        at = self.generations.now()
        record = GenerationRecord(
            gid=gid,
            status="run",
            owner=new_id(),
            fingerprint=send.fingerprint,
            conversation=conversation_id,
            place=0,
            message_id=new_id(),
            model=alias,
            n=end_of(plan.begun),
            t0=0,
            tail=plan.begun,
            lease=at + LEASE,
            deadline=at + int(left * 1000),
        )
        taken = slot(record.deadline, gid)
        usages.admit(user.key, user.address, taken, used)
        with ExitStack() as unless_begun:
            unless_begun.callback(usages.leave, user.key, taken)
            recalling, searching = map(unless_begun.enter_context, self._begin(user, plan.asked.text, soon, flags))
            asked = completed(memory)
            record = replace(record, estimate=self._expected(user, asked))
            message, instead = plan.replaces or plan.asked, plan.replaces is not None
            writer = self.generations.start(user.key, record, memory.conversation, message, instead=instead)
            if isinstance(writer, GenerationRecord):
                return writer
            known = memory.conversation
            if request.message is not None and known is not None and writer.record.place != known.seq + 2:
                # Another answer was stored between our two looks.
                memory = memory.renewed(self._lookup(user.key, conversation_id, gid, soon))
                plan = replace(plan, history=tuple(each for each in memory.history if each.generation_id != gid))
                asked = completed(memory)
            memory = recalling.into(memory)
            if memory.sources:
                asked = completed(memory)
            unless_begun.pop_all()
        return self._turn(
            Start(conversation_id, record.message_id, gid, alias),
            plan.asked,
            asked,
            user,
            writer,
            usages.rules.left(used),
            deadline,
            context,
            before=memory.progress(),
            begun=plan.begun,
            search=None if searching.empty else Search(searching, memory, asked, completed),
        )

    def preview(self, user: User, request: ChatRequest) -> "Preview":
        """What the model would be asked for this request. Stores nothing, and asks no model.

        A conversation in which an answer is being made is shown as it is stored. Raises what `start` raises for a
        request that is none, or one too many.
        """
        gid, flags, usages = new_id(), self._flags.of(user.key), self._usages_of(user)
        alias = self._alias(request, flags)
        self.models.check(alias, request.options)
        soon = self._lookup_deadline()
        memory = self._lookup(user.key, request.conversation_id or derived_conversation(gid), gid, soon)
        if memory.conversation and memory.conversation.deleted:
            raise NotFound
        plan = plan_of(request, memory, gid, self.settings.max_continued_bytes)
        usages.admit(user.key, user.address, None, usages.look(user.key, user.address))
        recalling, searching = self._begin(user, plan.asked.text, soon, flags)
        with recalling, searching:
            memory = searching.into(recalling.into(memory))
        asked = self._completion(memory, plan, alias, request.options)
        return Preview(replace(asked, stream=flags.streaming), memory.missing)

    def _earlier(self, user: User, gid: str, memory: Memory) -> GenerationRecord | None:
        """The head of an earlier try of the same send, read again where the lookup leaves that open."""
        if memory.earlier is None and memory.may_have_begun(gid):
            return self.generations.record(user.key, gid)
        return memory.earlier

    def _lookup_deadline(self) -> float:
        """When the lookup that begins now ends, by the monotonic clock; later where connections may be gone."""
        before, self._looked_up = self._looked_up, time.time()
        cold = self._looked_up - before > IDLE_CONNECTION
        return time.monotonic() + (self.settings.cold_memory_seconds if cold else self.settings.memory_seconds)

    def _begin(self, user: User, question: str, soon: float, flags: UserFlags) -> tuple[PendingRecall, PendingRecall]:
        """The searches for facts, until `soon`, and for documents, which have a budget of their own."""
        recall, documents = (self._recall, self._documents) if flags.memory else (Recall({}), Recall({}))
        until = time.monotonic() + self.settings.documents_seconds
        return recall.begin(user.key, question, soon), documents.begin(user.key, question, until)

    def _alias(self, request: ChatRequest, flags: UserFlags) -> str:
        responder = flags.responder if flags.responder in self.models.aliases else self.settings.default_model
        return request.model or responder

    def _completion(self, memory: Memory, plan: Plan, alias: str, options: Options) -> Completion:
        settings = self.settings
        room = PromptBudget(self.models.window(alias, options), settings.history_tokens)
        built = builder.build(memory, plan.history, plan.text, assistant=settings.assistant_name, room=room)
        return Completion(built, alias, options, memory.sources)

    def _expected(self, user: User, asked: Completion) -> Estimate:
        """What its head says of the costs, for whoever ends it when its owner is dead."""
        if user.bedrock_key:
            return Estimate(asked.tokens)
        model = self.models[asked.model]
        read = model.priced(Usage(asked.tokens), asked.options)
        million = model.priced(Usage(output_tokens=1_000_000), asked.options)
        return Estimate(asked.tokens, read.cost, million.cost or 0)

    def _usages_of(self, user: User) -> UsageStore:
        return self._own_usages if user.bedrock_key else self.usages

    def complete(self, user: User, asked: Completion, context: LambdaContext) -> Generation:
        """One answer to a prompt that its caller keeps; nothing is stored but what it cost.

        Raises BadRequest for a model, options or tools that there are not, and what `Rules.check` raises.
        """
        self.models.check(asked.model, asked.options, tools=asked.prompt.tools)
        seconds = context.get_remaining_time_in_millis() / 1000
        deadline = time.monotonic() + seconds - self.settings.deadline_margin_seconds
        start = Start("", new_id(), new_id(), asked.model)
        taken = slot(self.generations.now() + int(seconds * 1000), start.generation_id)
        usages = self._usages_of(user)
        with ThreadPoolExecutor(1, "flags") as pool:
            flagged = pool.submit(self._flags.of, user.key)
            used = usages.look(user.key, user.address)
        flags, left = flagged.result(), usages.rules.left(used)
        if asked.prompt.tools and not flags.tools:
            raise BadRequest("Tools are switched off.", field="tools")
        if self.models[asked.model].affordable(left, asked.tokens, asked.options) <= 0:
            raise budget_exhausted("user", self.generations.now())
        usages.admit(user.key, user.address, taken, used)
        message = Message(id=new_id(), role="user", parts=(), created_at=now(), generation_id=start.generation_id)
        writer = UsageWriter(self._table, user.key, taken)
        asked = replace(asked, stream=flags.streaming)
        return self._turn(start, message, asked, user, writer, left, deadline, context)

    def _turn(
        self,
        start: Start,
        message: Message,
        asked: Completion,
        user: User,
        writer: GenerationWriter,
        left: Budget,
        deadline: float,
        context: LambdaContext,
        *,
        before: Sequence[Event] = (),
        begun: Sequence[Entry] = (),
        search: Search | None = None,
    ) -> Generation:
        model, sent = self.models[asked.model], False

        def speak(call: Call) -> ModelEvents:
            nonlocal asked, sent
            call.bedrock_key = user.bedrock_key
            if search is not None:
                asked = yield from search.wait(call)
            sent = True
            answer = self.models.answer(asked.prompt, asked.model, asked.options, call, stream=asked.stream)
            yield from cited(answer, asked.sources, before=begun)

        def estimate(said: str, alias: str) -> Usage:
            usage = Usage(asked.tokens if sent else 0, prompt.estimate_tokens(said), basis="estimated")
            return usage if user.bedrock_key else self.models[alias].priced(usage, asked.options)

        reserve = self.settings.documents_tokens if search is not None else 0
        affordable = model.affordable(left, asked.tokens + reserve, asked.options)
        if search is not None and affordable <= 0:  # it will not be waited for
            search.stop()
        idle, size = self.settings.model_idle_seconds, self.settings.max_answer_bytes
        bounds = GenerationLimits(deadline, idle, size, affordable)
        return Generation(
            start, message, speak, writer, estimate, bounds, context.aws_request_id, before=before, begun=begun
        )

    def follow(
        self,
        user: User,
        record: GenerationRecord,
        context: LambdaContext,
        *,
        after: int | None = None,
        client: str | None = None,
        at_most: float = float("inf"),
    ) -> Follower:
        """A view of a generation for one client; it lasts until a margin before Lambda's deadline."""
        left = context.get_remaining_time_in_millis() / 1000 - self.settings.deadline_margin_seconds
        return Follower(
            self.generations,
            self.conversations,
            user.key,
            record,
            after=after,
            client=client,
            request_id=context.aws_request_id,
            deadline=time.monotonic() + min(left, at_most),
        )

    def running(self, user: User, conversation_id: str, gid: str | None = None) -> GenerationRecord | None:
        """The generation that is being made in the conversation; or the one named, None when its log is gone.

        Raises NotFound when the conversation is not the user's, or the named generation is another conversation's.
        """
        conversation = self.conversations.get(user.key, conversation_id)
        if conversation.deleted or not (conversation.seq or conversation.updated_at):
            raise conversation.missing()
        wanted = gid or conversation.active
        record = self.generations.alive(user.key, wanted) if wanted else None
        if record and record.conversation != conversation_id:
            raise NotFound
        return record

    def stop(self, user: User, gid: str, seconds: float) -> bool:
        """Stops a generation and waits for its end; whether it came in time."""
        if record := self.generations.record(user.key, gid):
            self.generations.cancel(user.key, record)
        return self.generations.ended(user.key, gid, time.monotonic() + seconds)

    def latest(self, user: User, conversation_id: str, *, within: float) -> GenerationRecord | None:
        """The generation that is being made in the conversation, or that ended within so many seconds."""
        conversation, newest = self.conversations.recent(user.key, conversation_id, 1)
        if conversation.deleted:
            return None
        gid = conversation.active
        match newest:
            case [Message(role="assistant") as answer] if gid is None and age(answer.created_at) < within:
                gid = answer.generation_id
        return self.generations.alive(user.key, gid) if gid else None

    def cancel(self, user: User, conversation_id: str, gid: str | None) -> None:
        """Asks the active generation to stop. Raises NotFound, and NotActive when `gid` names another one."""
        active = self.conversations.get(user.key, conversation_id).active
        record = self.running(user, conversation_id)
        if gid is not None and gid != active:
            raise NotActive
        if record:
            self.generations.cancel(user.key, record)
