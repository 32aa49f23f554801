"""Rules of a walk: a message is sent, and sent again."""

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
from converse_stream.store.generation_record import (
    LEASE_MS,
    Estimate,
    GenerationRecord,
    conversation_id,
    generation_id,
)
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
    Where,
)
from tests.property.walk_invariants import Invariants


class Sends(Invariants):
    """Users that send."""

    def send(self) -> bool:
        """A new message, in a conversation that there is or in a new one."""
        user = self.random.choice(self.users)
        mine = [conversation for name, conversation in self.known if name == user]
        key = self._new("key")
        if mine and self.random.random() < 0.85:
            conversation = self.random.choice(mine[-4:])
        else:
            conversation = "" if self.random.random() < 0.5 else self._new("conversation")
        action = self.random.choice(("send", "send", "regenerate", "continue")) if conversation in mine else "send"
        send = Send(user, key, "payload", conversation, action, self.random.choice(TEXTS))
        self.sends.append(send)
        return self._send(send)

    def send_again(self) -> bool:
        """The same, once more: a retry, perhaps while the first is under way."""
        return bool(self.sends) and self._send(self.random.choice(self.sends[-6:]))

    def send_otherwise(self) -> bool:
        """An earlier key with another payload."""
        if not self.sends:
            return False
        return self._send(replace(self.random.choice(self.sends[-6:]), payload="other"))

    def send_anew(self) -> bool:
        """An old send, at any time."""
        return bool(self.sends) and self._send(self.random.choice(self.sends))

    def _send(self, send: Send, environment: Environment | None = None) -> bool:
        environment = environment or self._idle()
        if environment is None:
            return False
        user = send.user
        gid = generation_id(user, send.key)
        conversation = send.conversation or conversation_id(gid)
        where = (user, gid)
        before, nested = self._lives(where, environment), self.counts["nested"]
        erased = self._is_erased(user), self.erasures[user]
        with self._act(environment, user, f"{send.action} {send.key} {send.payload} in {conversation}"):
            outer, self._focus = self._focus, replace(send, conversation=conversation)
            try:
                result = self._start(environment, send, gid, conversation)
            except StorageError:
                self._storage_error()
                self._say("storage error")
            except IdempotencyKeyReused:
                record = self.raw_record(*where)
                deleted = record is None and (user, conversation) in self.deleted  # since the key was looked up
                if not deleted and (record is None or record["fp"] == send.payload):
                    raise Violation("I6: refused as another payload") from None
                self.counts["key reused"] += 1
            except ErasureInProgress:
                if erased == (False, self.erasures[user]):
                    raise Violation("I14: refused, and nothing is erased") from None
                if before and self._lives(where, environment):
                    raise Violation("I6: a retry is told that all is erased") from None
                self.counts["being erased"] += 1
            except (ConversationBusy, NotFound) as refused:
                known = where in self._began and self._began[where] < self._last_call[-1]
                gone = isinstance(refused, NotFound) and (user, conversation) in self.deleted
                if not gone and (
                    before or (known and self._lives(where, environment) and isinstance(refused, ConversationBusy))
                ):
                    raise Violation(f"I6: a retry is told {refused.code}") from refused
                meta = self.dynamo.items.get((keys.conversation(user, conversation), keys.META), {})
                if isinstance(refused, ConversationBusy) and nested == self.counts["nested"] and "active" not in meta:
                    raise Violation("I8: a conversation in which nothing is being made is busy") from refused
                self.counts[refused.code] += 1
            else:
                if isinstance(result, GenerationRecord):
                    self.counts["attached"] += 1
                    if result.gid != gid or result.fingerprint != send.payload:
                        raise Violation("I6: attached to something else")
                elif before and (result is not None or (user, conversation) not in self.deleted):
                    raise Violation("I6: the model is asked again, or a retry is told that there is no answer")
            finally:
                self._focus = outer
        return True

    def _lives(self, where: Where, environment: Environment) -> bool:
        record = self.raw_record(*where)
        return record is not None and int(record["ttl"]) > self.at + 2 * SKEW

    def _start(
        self, environment: Environment, send: Send, gid: str, conversation: str
    ) -> TableWriter | GenerationRecord | None:
        user = send.user
        known: Conversation | None = None
        history: list[Message] = []
        looks = ["earlier", "history"]
        self.random.shuffle(looks)  # they are read side by side
        earlier, came = None, False
        for look in looks:
            try:
                if look == "earlier":
                    earlier, came = environment.generations.get(user, gid), True
                else:
                    known, history = environment.conversations.recent(user, conversation, 6)
            except StorageError:
                continue
        if earlier is None and Memory(known, tuple(history), earlier_was_read=came).may_have_started(gid):
            earlier = environment.generations.get(user, gid)
        if earlier:
            return environment.generations.attach(earlier, send.payload)
        asked: Message | None = None
        begun: tuple[Entry, ...] = ()
        if send.action == "send":
            asked = Message(self._new("m"), "user", (Chunk(send.text),), "t", generation_id=gid)
        else:
            if known is None:
                raise StorageError
            if known.active or known.deleted:
                return None
            match history:
                case [*_, Message(role="user"), Message(role="assistant") as asked]:
                    begun = asked.parts if send.action == "continue" else ()
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
            length=log.end_of(begun),
            tail_start=0,
            tail=begun,
            lease=at + LEASE_MS,
            deadline=at + int(life * 1000),
            estimate=Estimate(self.random.randrange(5000)),
        )
        self.estimates[record.owner] = record.estimate.input_tokens
        faults = self._own_faults[-1]
        try:
            result = environment.generations.start(user, record, known, asked, replace_last=send.action != "send")
        except StorageError:
            if self._own_faults[-1] == faults + 1:  # and the table was well when the key was closed
                self.refused.add(record.owner)
            raise
        if isinstance(result, GenerationRecord):
            return result
        self.counts[f"started: {send.action}"] += 1
        spoken = self.spoken[user, gid]
        spoken.calls += 1
        if spoken.calls > 1:
            raise Violation("I6: the model is asked again")
        if (user, conversation) not in self.known:
            self.known.append((user, conversation))
        environment.turn = RunningGeneration(spoken, result, len(begun))
        return result
