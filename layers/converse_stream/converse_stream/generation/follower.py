"""Following a generation from the table: what a client sees that was not there, or left and came back.

The durable log is read up to where it ends, then its head is looked at a few times a second until the generation has
ended. One log and one cursor: there is no seam between what was missed and what is new.
"""

import re
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from converse_stream.generation.generation import MAX_UNSAVED_SECONDS
from converse_stream.protocol import errors, log
from converse_stream.protocol.errors import (
    ChatError,
    NotFound,
    StorageError,
    TooManyFollowers,
)
from converse_stream.protocol.events import (
    Complete,
    Error,
    Event,
    Rollback,
    Start,
    Timing,
    Usage,
)
from converse_stream.protocol.ids import new_id
from converse_stream.protocol.log import PositionedEvent
from converse_stream.store.conversations import Conversations
from converse_stream.store.generation_record import GenerationRecord
from converse_stream.store.generations import Generations

POLL_SECONDS = 0.4  # seconds between two looks at the head
NOTIFY_SECONDS = 5  # seconds between two notes to the owner that somebody follows; each is good for 10
ATTACH_SECONDS = 60  # seconds that an attach with a cursor lasts; then the client attaches again
MAX_FOLLOWERS = 5  # independent followers of one generation
CURSOR = re.compile(r"([A-Za-z0-9_-]{8,64}):([0-9]{1,9})")


class Follower:
    """One client's view of a generation, with the turn's own interface for frames.

    `after` is the position that the client has seen, None for one that has seen nothing. `client` names a browser tab:
    its newer attach ends the older one.
    """

    def __init__(
        self,
        generations: Generations,
        conversations: Conversations,
        user: str,
        record: GenerationRecord,
        *,
        after: int | None,
        client: str | None,
        request_id: str,
        deadline: float,
    ) -> None:
        self._generations = generations
        self._conversations = conversations
        self._user = user
        self._head = record
        self._position = after or 0
        self._read_from = 0
        self._client = client or new_id()
        self._attached = new_id()
        self._is_attached = False
        self._request_id = request_id
        self._until = min(deadline, time.monotonic() + ATTACH_SECONDS) if after is not None else deadline
        self._noted = self._looked = float("-inf")
        self._answered = time.monotonic()  # when the table last did
        self._ended = False
        self._events: list[PositionedEvent] = [
            PositionedEvent(Start(record.conversation, record.message_id, record.gid, record.model), 0)
        ]

    def __enter__(self) -> Self:
        """Attaches, unless `attach` has. Raises TooManyFollowers."""
        if not self._is_attached:
            self.attach()
        return self

    def attach(self) -> None:
        """Takes the client's place as a follower, and ends its older one. Raises TooManyFollowers."""
        record, marks = self._generations.observe(self._user, self._head.gid)
        runs = record is not None and record.status == "run"
        if runs and len(marks.keys() - {self._client}) >= MAX_FOLLOWERS:
            raise TooManyFollowers
        self._generations.add_follower(self._user, self._head.gid, self._client, self._attached)
        self._is_attached = True

    def __exit__(self, *_: object) -> None:
        """A follower that ends makes room for another, and leaves the generation as it is."""
        with suppress(StorageError):
            self._generations.remove_follower(self._user, self._head.gid, self._client, self._attached)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come; without a terminal event the client attaches again."""
        return self._ended

    def wait(self, cursor: int, timeout: float) -> Sequence[PositionedEvent]:
        """The events after the first `cursor` ones; empty when none came within `timeout` seconds, or it is over."""
        end = time.monotonic() + timeout
        while len(self._events) == cursor and not self._ended:
            due = self._looked + POLL_SECONDS
            if due > end:
                time.sleep(max(0.0, end - time.monotonic()))
                break
            time.sleep(max(0.0, due - time.monotonic()))
            self._look()
        return self._events[cursor:]

    def _look(self) -> None:
        """Reads what is new. A table that fails is asked again, for as long as the answer's owner does."""
        self._looked = time.monotonic()
        try:
            self._read()
            self._answered = self._looked
        except StorageError:
            self._ended = self._looked > min(self._until, self._answered + MAX_UNSAVED_SECONDS)

    def _read(self) -> None:
        record, marks = self._generations.observe(self._user, self._head.gid)
        if record is None or marks.get(self._client) != self._attached:
            self._ended = True  # its time is over, or a newer attach of the same client took its place
            return
        if record.status == "run":
            self._notify_owner(record)
        try:
            self._take(record)
        except NotFound:
            self._ended = True
            return
        if record.status != "run":
            self._end(record)
        elif time.monotonic() > self._until:
            self._ended = True

    def _take(self, record: GenerationRecord) -> None:
        """Appends what the durable log has behind our position."""
        if record.length <= self._position:
            return
        since = self._read_from if self._read_from <= self._position else 0
        entries = log.after(self._generations.read(self._user, record, since), self._position, since)
        self._read_from = record.tail_start
        for entry in log.joined(entries):
            self._position += log.length(entry)
            self._events.append(PositionedEvent(entry, self._position))

    def _end(self, record: GenerationRecord) -> None:
        terminal = self._terminal(record)  # first: it may fail, and is then asked for again
        if record.length < self._position:  # it died before what the client saw was stored
            self._events.append(PositionedEvent(Rollback(record.length), record.length))
        self._events.append(PositionedEvent(terminal, record.length))
        self._ended = True

    def _terminal(self, record: GenerationRecord) -> Event:
        failed = errors.by_code(record.reason or "internal") if record.status == "error" else None
        if failed and not record.restores_replaced:
            return self._error(failed, record.message_id)
        try:
            asked, answer = self._conversations.exchange(
                self._user, record.conversation, record.seq, *record.answer_generations
            )
        except NotFound as gone:  # the conversation was deleted meanwhile
            return self._error(failed or gone, None)
        if (
            answer.id != record.message_id and not record.restores_replaced
        ):  # the same, and this is of an earlier use of the key
            return self._error(failed or errors.NotFound(), None)
        if failed:
            return self._error(failed, answer.id)
        usage = record.usage or Usage()
        return Complete(record.reason or "stop", asked, answer, usage, Timing(0))

    def _error(self, error: ChatError, message_id: str | None) -> Error:
        return Error(error.code, error.message, error.retryable, error.status, self._request_id, message_id)

    def _notify_owner(self, record: GenerationRecord) -> None:
        if time.monotonic() - self._noted > NOTIFY_SECONDS:
            self._noted = time.monotonic()
            with suppress(StorageError):  # a log that is written less often is all that it costs
                self._generations.mark_followed(self._user, record, self._generations.now() + 2 * NOTIFY_SECONDS * 1000)


def cursor(value: str) -> tuple[str, int] | None:
    """The generation and the position that `<generation>:<position>` names, or None."""
    found = CURSOR.fullmatch(value)
    return (found[1], int(found[2])) if found else None
