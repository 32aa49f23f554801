"""A generation: one answer being made, by one owner, into a log that outlives it.

    start     transact  H: put, if absent       | META: active = gid, if none is | put the user's message,
                                                                                   or move the old answer aside
    flush     update    H: tail, n, lease, if it runs and is mine at the n I know; brings back cx and fw
      seal    put       S#<t0>: the tail that is durable already, when it has grown; then flush with a new one
    cancel    update    H: cx, if it runs
    finish    transact  H: its end, likewise    | META: active gone, if it is mine | put the answer | count the day
    reap      the same, by anybody, when the lease ran out: H: lost, on the lease and the n that were seen

One conditional write per second carries the text, the lease and the answer to "does anybody want it stopped?". A write
whose condition fails has either succeeded before, unseen (then H says exactly what we wrote), or somebody else ended
the generation: then its owner stops. A crash between sealing and flushing leaves a segment that readers ignore,
because it does not begin before H's tail.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from chat import log
from chat.errors import BeingErased, ConversationBusy, KeyReused, NotFound, StorageError
from chat.events import Message, Usage
from chat.ids import now
from chat.log import Entry
from chat.store import erasing, keys, messages
from chat.store.conversations import Conversation, Conversations, opening
from chat.store.head import AS_SEEN, LIFETIME, RUNS, End, Head, from_item, key, to_item
from chat.store.heads import Heads
from chat.store.table import ConditionFailed, Item, Table
from chat.store.writer import Writer
from chat.telemetry import count_lost, logger

FOLLOWS = 15 * 60_000  # ms that an attach counts: no function runs for longer
LOOK = 0.2  # seconds between two looks at one whose end is waited for
ATTEMPTS = 3  # at a start that keeps losing races

# Named conditions on META; those on H are in head.py, the end's in heads.py.
_IS_NEW = "attribute_not_exists(pk)"
_FREE = "seq = :seen AND attribute_not_exists(deleted) AND attribute_not_exists(active)"


class Generations(Heads):
    """Starts generations, looks at them, and ends those whose owner is dead."""

    def __init__(self, table: Table, conversations: Conversations, clock: Callable[[], float] = time.time) -> None:
        super().__init__(table, conversations.retention, clock)
        self._conversations = conversations

    def start(
        self, user: str, head: Head, conversation: Conversation | None, message: Message, *, instead: bool = False
    ) -> Writer | Head:
        """Stores the user's message and makes the generation the conversation's active one.

        With `instead` there is no new message: the answer takes the place of `message`, which is the last one, and
        moves aside.

        The head of an earlier send with the same key comes back instead, when there is one. Raises KeyReused when
        that one had another payload, ConversationBusy while another answer is being made, NotFound when the
        conversation was deleted, BeingErased while all that the user has is.
        """
        for _ in range(ATTEMPTS):
            known = conversation or self._conversations.get(user, head.conversation)
            placed = replace(head, place=known.seq if instead else known.seq + 2)
            store = self._moves if instead else self._puts
            try:
                self._table.transact(
                    [
                        erasing.is_not(self._table, user),
                        self._table.absent(to_item(user, placed, int(self._clock()) + LIFETIME)),
                        self._claim(user, placed, known, message),
                        *store(user, placed, message),
                    ]
                )
                return Writer(self, self._table, user, placed)
            except (ConditionFailed, StorageError) as failed:
                earlier, refused = self.head(user, head.gid), failed
            if earlier and earlier.owner == head.owner:  # it had succeeded, and only the answer was lost
                return Writer(self, self._table, user, earlier)
            if isinstance(refused, StorageError):
                raise refused
            if earlier:
                return self.attach(earlier, head.fingerprint)
            if 0 in refused.parts:
                raise BeingErased
            try:
                conversation = self._free(user, head.conversation)
            except ConversationBusy:
                if twin := self.head(user, head.gid):  # the same send, begun between our two looks
                    return self.attach(twin, head.fingerprint)
                raise
        raise ConversationBusy

    def attach(self, earlier: Head, fingerprint: str) -> Head:
        """The head, if the send that made it said the same. Raises KeyReused."""
        if earlier.fingerprint != fingerprint:
            raise KeyReused
        return earlier

    def cancel(self, user: str, head: Head) -> None:
        """Asks the owner to stop. One that has ended already stays as it is."""
        self._mark(user, head, "cx", True)

    def follow(self, user: str, head: Head, until: int) -> None:
        """Tells the owner that somebody follows, so that it flushes more often."""
        self._mark(user, head, "fw", until)

    def _mark(self, user: str, head: Head, name: str, value: Any) -> None:
        values = {":value": value, ":run": "run"}
        with suppress(ConditionFailed):  # it has ended
            self._table.change(*key(user, head.gid), f"SET {name} = :value", condition=RUNS, values=values)

    def attach_client(self, user: str, gid: str, client: str, mark: str) -> None:
        """Notes that this client follows; `mark` tells its attaches apart."""
        item = {"pk": keys.generation(user, gid), "sk": keys.attach(client), "since": mark, "at": self.now()}
        self._table.put({**item, "ttl": int(self._clock()) + LIFETIME})

    def detach_client(self, user: str, gid: str, client: str, mark: str) -> None:
        """Takes the note back, unless a newer attach of the client has replaced it."""
        with suppress(ConditionFailed):
            pk, sk = keys.generation(user, gid), keys.attach(client)
            self._table.delete(pk, sk, condition="since = :mark", values={":mark": mark})

    def look(self, user: str, gid: str) -> tuple[Head | None, Mapping[str, str]]:
        """The head, reaped first if its owner is dead, and the marks of the clients that follow; one read."""
        items = self._table.query(keys.generation(user, gid), "A#", keys.HEAD)
        head = from_item(items.pop()) if items and items[-1]["sk"] == keys.HEAD else None
        lately = self.now() - FOLLOWS
        marks = {item["sk"].removeprefix("A#"): item["since"] for item in items if int(item["at"]) > lately}
        return (self.reap(user, head) if head and head.is_dead(self.now()) else head), marks

    def reap(self, user: str, head: Head) -> Head:
        """Ends a dead generation as lost, with what it left; the head as it is then. Nothing is generated again."""
        entries = self.read(user, head, 0)
        lost = Message(
            id=head.message_id,
            role="assistant",
            parts=tuple(entries),
            created_at=now(),
            status="partial",
            generation_id=head.gid,
            model=head.model,
            finish_reason="lost",
        )
        if self.end(user, head, lost, End("lost", "lost", Usage()), AS_SEEN, {":lease": head.lease}):
            logger.warning("a generation was lost", extra={"generation": head.gid})
            count_lost(head.model)
        return self.head(user, head.gid) or head

    def alive(self, user: str, gid: str) -> Head | None:
        """The head, reaped first if its owner is dead."""
        head = self.head(user, gid)
        return self.reap(user, head) if head and head.is_dead(self.now()) else head

    def ended(self, user: str, gid: str, deadline: float) -> bool:
        """Waits for its end until `deadline`, a time of the monotonic clock; whether it has come."""
        while (head := self.alive(user, gid)) and head.status == "run":
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK)
        return True

    def read(self, user: str, head: Head, since: int) -> list[Entry]:
        """The durable log from `since` to the head's end; `since` must be where a segment or the tail begins, or 0.

        Raises NotFound when it is deleted meanwhile.
        """
        if since >= head.t0:
            return list(head.tail)
        pk = keys.generation(user, head.gid)
        for _ in range(ATTEMPTS):  # a Query is no snapshot: on a gap, again
            segments = self._table.query(pk, keys.segment(since), keys.segment(head.t0 - 1))
            entries: list[Entry] = []
            position = since
            for segment in segments:
                if int(segment["n0"]) != position:
                    break
                entries += log.decode(bytes(segment["ev"]))
                position = int(segment["n1"])
            if position == head.t0:
                return entries + list(head.tail)
        if self.head(user, head.gid) is None:  # its conversation was deleted meanwhile
            raise NotFound
        raise StorageError

    def _claim(self, user: str, head: Head, known: Conversation, message: Message) -> Any:
        values: Item = {
            ":next": head.place,
            ":gid": head.gid,
            ":now": now(),
            ":user": keys.user(user),
            ":id": head.conversation,
            ":ttl": self._retention.of_conversation(self._clock()),
        }
        if known.deleted:
            raise ConditionFailed  # its time may be over, which no condition looks at
        if known.seq or known.updated_at:
            values[":seen"] = known.seq
        update = "SET seq = :next, active = :gid, gsi1pk = :user, gsi1sk = :now, id = :id, #ttl = :ttl"
        if not known.seq:
            update = f"{update}, opening = :opening, opening_ttl = :over"
            values |= {":opening": opening(message.text), ":over": self._retention.of_message(self._clock())}
        return self._table.update(
            keys.conversation(user, head.conversation),
            keys.META,
            update,
            condition=_FREE if ":seen" in values else _IS_NEW,
            values=values,
            names={"#ttl": "ttl"},
        )

    def _puts(self, user: str, head: Head, message: Message) -> Iterable[Any]:
        pk = keys.conversation(user, head.conversation)
        return (self._table.absent(item) for item in self._items(pk, head.place - 1, message))

    def _moves(self, user: str, head: Head, message: Message) -> Iterable[Any]:
        pk = keys.conversation(user, head.conversation)
        item = self._table.get(pk, keys.message(head.place))
        if item is None or item["id"] != message.id:
            raise ConditionFailed  # another one has moved it
        yield self._table.absent(messages.earlier(item))
        yield self._table.remove(pk, item["sk"], condition="id = :id", values={":id": message.id})

    def _free(self, user: str, conversation: str) -> Conversation:
        """The conversation as it is now, free for an answer. Raises ConversationBusy and NotFound."""
        known = self._conversations.get(user, conversation)
        if known.deleted:
            raise NotFound
        if known.active:
            running = self.alive(user, known.active)
            if running and running.status == "run":
                raise ConversationBusy(generation=known.active)
            if running is None:  # nobody looked while its log was kept
                self._conversations.release(user, conversation, known.active)
            known = self._conversations.get(user, conversation)
        return known
