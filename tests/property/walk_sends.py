"""Rules of a walk: messages are sent and repeated."""

from dataclasses import replace

from converse_stream.memory.lookup import Memory
from converse_stream.protocol import log
from converse_stream.protocol.errors import (
    ConversationBusy,
    ErasureInProgress,
    IdempotencyKeyReused,
    NotFound,
    StorageError,
)
from converse_stream.protocol.events import Chunk, Message
from converse_stream.protocol.log import Entry
from converse_stream.store import keys
from converse_stream.store.conversations import Conversation
from converse_stream.store.generation_record import LEASE_MS, Estimate, GenerationRecord, conversation_id, generation_id
from converse_stream.store.generation_writer import TableWriter
from tests.property.fake_table import Violation
from tests.property.walk_actors import (
    LONGEST_LIFE,
    SHORTEST_LIFE,
    SKEW,
    TEXTS,
    Environment,
    RunningGeneration,
    Send,
    UserKey,
)
from tests.property.walk_invariants import Invariants


class Sends(Invariants):
    """Rules of users that send."""

    def send(self) -> bool:
        """A user sends a new message, in an existing or a new conversation."""
        user = self.random.choice(self.users)
        own = [conversation for name, conversation in self.known_conversations if name == user]
        key = self._new("key")
        if own and self.random.random() < 0.85:
            conversation = self.random.choice(own[-4:])
        else:
            conversation = "" if self.random.random() < 0.5 else self._new("conversation")
        action = self.random.choice(("send", "send", "regenerate", "continue")) if conversation in own else "send"
        send = Send(user, key, "payload", conversation, action, self.random.choice(TEXTS))
        self.sends.append(send)
        return self._send(send)

    def repeat_send(self) -> bool:
        """A user repeats a recent send, possibly while the first one is in progress."""
        return bool(self.sends) and self._send(self.random.choice(self.sends[-6:]))

    def send_other_payload(self) -> bool:
        """A user reuses a recent idempotency key with another payload."""
        if not self.sends:
            return False
        return self._send(replace(self.random.choice(self.sends[-6:]), payload="other"))

    def repeat_old_send(self) -> bool:
        """A user repeats any earlier send."""
        return bool(self.sends) and self._send(self.random.choice(self.sends))

    def _send(self, send: Send, environment: Environment | None = None) -> bool:
        environment = environment or self._idle_environment()
        if environment is None:
            return False
        user = send.user
        gid = generation_id(user, send.key)
        conversation = send.conversation or conversation_id(gid)
        user_gid = (user, gid)
        before, nested = self._exists(user_gid, environment), self.counts["nested"]
        erased = self._is_erased(user), self.erasures[user]
        with self._action(environment, user, f"{send.action} {send.key} {send.payload} in {conversation}"):
            outer, self._current_send = self._current_send, replace(send, conversation=conversation)
            try:
                result = self._start(environment, send, gid, conversation)
            except StorageError:
                self._storage_error()
                self._trace("storage error")
            except IdempotencyKeyReused:
                record = self.raw_record(*user_gid)
                deleted = record is None and (user, conversation) in self.deleted  # after the lookup of the key
                if not deleted and (record is None or record["fp"] == send.payload):
                    raise Violation("I6: a retry with the same payload is refused as a reused key") from None
                self.counts["key reused"] += 1
            except ErasureInProgress:
                if erased == (False, self.erasures[user]):
                    raise Violation("I14: refused because of an erasure, but no erasure is in progress") from None
                if before and self._exists(user_gid, environment):
                    raise Violation("I6: a retry is refused because of an erasure") from None
                self.counts["erasure in progress"] += 1
            except (ConversationBusy, NotFound) as refused:
                existed = user_gid in self._created_at_call and self._created_at_call[user_gid] < self._last_call[-1]
                deleted = isinstance(refused, NotFound) and (user, conversation) in self.deleted
                if not deleted and (
                    before
                    or (existed and self._exists(user_gid, environment) and isinstance(refused, ConversationBusy))
                ):
                    raise Violation(f"I6: a retry is refused with {refused.code}") from refused
                meta = self.dynamo.items.get((keys.conversation(user, conversation), keys.META), {})
                if isinstance(refused, ConversationBusy) and nested == self.counts["nested"] and "active" not in meta:
                    raise Violation("I8: a conversation without a running generation is busy") from refused
                self.counts[refused.code] += 1
            else:
                if isinstance(result, GenerationRecord):
                    self.counts["attached"] += 1
                    if result.gid != gid or result.fingerprint != send.payload:
                        raise Violation("I6: attached to another generation")
                elif before and (result is not None or (user, conversation) not in self.deleted):
                    raise Violation("I6: the model is called again, or a retry does not find its generation")
            finally:
                self._current_send = outer
        return True

    def _exists(self, user_gid: UserKey, environment: Environment) -> bool:
        record = self.raw_record(*user_gid)
        return record is not None and int(record["ttl"]) > self.now + 2 * SKEW

    def _start(
        self, environment: Environment, send: Send, gid: str, conversation: str
    ) -> TableWriter | GenerationRecord | None:
        user = send.user
        stored: Conversation | None = None
        history: list[Message] = []
        reads = ["earlier", "history"]
        self.random.shuffle(reads)  # they are read concurrently, in any order
        earlier, earlier_read = None, False
        for read in reads:
            try:
                if read == "earlier":
                    earlier, earlier_read = environment.generations.get(user, gid), True
                else:
                    stored, history = environment.conversations.recent(user, conversation, 6)
            except StorageError:
                continue
        if earlier is None and Memory(stored, tuple(history), earlier_was_read=earlier_read).may_have_started(gid):
            earlier = environment.generations.get(user, gid)
        if earlier:
            return environment.generations.attach(earlier, send.payload)
        message: Message | None = None
        prefix: tuple[Entry, ...] = ()
        if send.action == "send":
            message = Message(self._new("m"), "user", (Chunk(send.text),), "t", generation_id=gid)
        else:
            if stored is None:
                raise StorageError
            if stored.active or stored.deleted:
                return None
            match history:
                case [*_, Message(role="user"), Message(role="assistant") as message]:
                    prefix = message.parts if send.action == "continue" else ()
                case _:
                    return None
        life = self.random.uniform(SHORTEST_LIFE, LONGEST_LIFE)
        at = environment.generations.now()
        record = GenerationRecord(
            gid=gid,
            status="run",
            owner=self._new("owner"),
            fingerprint=send.payload,
            conversation=conversation,
            seq=0,
            message_id=self._new("m"),
            model="nova-lite",
            length=log.end_of(prefix),
            tail_start=0,
            tail=prefix,
            lease=at + LEASE_MS,
            deadline=at + int(life * 1000),
            estimate=Estimate(self.random.randrange(5000)),
        )
        self.estimates[record.owner] = record.estimate.input_tokens
        faults = self._own_faults[-1]
        try:
            result = environment.generations.start(user, record, stored, message, replace_last=send.action != "send")
        except StorageError:
            if self._own_faults[-1] == faults + 1:  # and closing the key succeeded
                self.failed_owners.add(record.owner)
            raise
        if isinstance(result, GenerationRecord):
            return result
        self.counts[f"started: {send.action}"] += 1
        known = self.known_generations[user, gid]
        known.model_calls += 1
        if known.model_calls > 1:
            raise Violation("I6: the model is called again")
        if (user, conversation) not in self.known_conversations:
            self.known_conversations.append((user, conversation))
        environment.running = RunningGeneration(known, result, len(prefix))
        return result
