"""Follows a generation from the table: for clients that resume, and for clients other than the one that started it.

The follower reads the stored log to its end. Then it polls the record of the generation until that has ended. Missed
and new events come from the same log with the same cursor, so there is no gap between them.
"""

import re
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from converse_stream.generation.generation import MAX_UNSAVED_SECONDS
from converse_stream.protocol import errors, log
from converse_stream.protocol.errors import ChatError, NotFound, StorageError, TooManyFollowers
from converse_stream.protocol.events import Complete, Error, Event, Rollback, Start, Timing, Usage
from converse_stream.protocol.ids import new_id
from converse_stream.protocol.log import PositionedEvent
from converse_stream.store.conversations import Conversations
from converse_stream.store.generation_record import GenerationRecord
from converse_stream.store.generations import Generations

POLL_SECONDS = 0.4  # between two reads of the record
NOTIFY_SECONDS = 5  # between two notifications of the owner; each is valid for twice as long
ATTACH_SECONDS = 60  # how long an attach with a cursor lasts; then the client attaches again
MAX_FOLLOWERS = 5  # clients that follow one generation at the same time
CURSOR = re.compile(r"([A-Za-z0-9_-]{8,64}):([0-9]{1,9})")


class Follower:
    """One client's view of a generation that another invocation runs: a source of events, like `Generation`.

    `after` is the position up to which the client has the log, None for a client that has nothing. `client` identifies
    a browser tab: a new attach of the same client ends the older one. `deadline` is a time of the monotonic clock.
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
        self._record = record
        self._position = after or 0
        self._read_from = 0  # position where the next read of the log begins
        self._client = client or new_id()
        self._attach_id = new_id()
        self._is_attached = False
        self._request_id = request_id
        self._deadline = min(deadline, time.monotonic() + ATTACH_SECONDS) if after is not None else deadline
        self._notified_at = self._polled_at = float("-inf")
        self._last_success_at = time.monotonic()  # of a read of the table
        self._ended = False
        self._events: list[PositionedEvent] = [
            PositionedEvent(Start(record.conversation, record.message_id, record.gid, record.model), 0)
        ]

    def __enter__(self) -> Self:
        """Attaches, unless `attach` was called before. Raises TooManyFollowers."""
        if not self._is_attached:
            self.attach()
        return self

    def attach(self) -> None:
        """Registers the client as a follower and ends its older attach. Raises TooManyFollowers."""
        record, attach_ids = self._generations.observe(self._user, self._record.gid)
        is_running = record is not None and record.status == "run"
        if is_running and len(attach_ids.keys() - {self._client}) >= MAX_FOLLOWERS:
            raise TooManyFollowers
        self._generations.add_follower(self._user, self._record.gid, self._client, self._attach_id)
        self._is_attached = True

    def __exit__(self, *_: object) -> None:
        """Removes the follower. The generation continues."""
        with suppress(StorageError):
            self._generations.remove_follower(self._user, self._record.gid, self._client, self._attach_id)

    @property
    def ended(self) -> bool:
        """Whether no more events will come. If the last one is not terminal, the client has to attach again."""
        return self._ended

    def wait(self, cursor: int, timeout: float) -> Sequence[PositionedEvent]:
        """Returns the events after the first `cursor` ones.

        The list is empty if none come within `timeout` seconds, or if the follower has ended.
        """
        end = time.monotonic() + timeout
        while len(self._events) == cursor and not self._ended:
            due = self._polled_at + POLL_SECONDS
            if due > end:
                time.sleep(max(0.0, end - time.monotonic()))
                break
            time.sleep(max(0.0, due - time.monotonic()))
            self._poll()
        return self._events[cursor:]

    def _poll(self) -> None:
        """Reads new events. If the table fails, it is read again for as long as the owner retries its writes."""
        self._polled_at = time.monotonic()
        try:
            self._read()
            self._last_success_at = self._polled_at
        except StorageError:
            self._ended = self._polled_at > min(self._deadline, self._last_success_at + MAX_UNSAVED_SECONDS)

    def _read(self) -> None:
        record, attach_ids = self._generations.observe(self._user, self._record.gid)
        if record is None or attach_ids.get(self._client) != self._attach_id:
            self._ended = True  # the log has expired, or the client has attached again
            return
        if record.status == "run":
            self._notify_owner(record)
        try:
            self._append_new(record)
        except NotFound:
            self._ended = True
            return
        if record.status != "run":
            self._append_end(record)
        elif time.monotonic() > self._deadline:
            self._ended = True

    def _append_new(self, record: GenerationRecord) -> None:
        """Appends what the stored log has after our position."""
        if record.length <= self._position:
            return
        since = self._read_from if self._read_from <= self._position else 0
        entries = log.after(self._generations.read(self._user, record, since), self._position, since)
        self._read_from = record.tail_start
        for entry in log.joined(entries):
            self._position += log.length(entry)
            self._events.append(PositionedEvent(entry, self._position))

    def _append_end(self, record: GenerationRecord) -> None:
        terminal = self._terminal(record)  # before any event is appended: it may fail and is then tried again
        if record.length < self._position:  # the owner died before it stored what the client has received
            self._events.append(PositionedEvent(Rollback(record.length), record.length))
        self._events.append(PositionedEvent(terminal, record.length))
        self._ended = True

    def _terminal(self, record: GenerationRecord) -> Event:
        error = errors.by_code(record.reason or "internal", record.model) if record.status == "error" else None
        if error and not record.restores_replaced:
            return self._error(error, record.message_id)
        try:
            user_message, answer = self._conversations.exchange(
                self._user, record.conversation, record.seq, *record.answer_generations
            )
        except NotFound as not_found:  # the conversation was deleted
            return self._error(error or not_found, None)
        if answer.id != record.message_id and not record.restores_replaced:
            # The conversation was deleted, and this answer is of an earlier generation with the same id.
            return self._error(error or errors.NotFound(), None)
        if error:
            return self._error(error, answer.id)
        usage = record.usage or Usage()
        return Complete(record.reason or "stop", user_message, answer, usage, Timing(0))

    def _error(self, error: ChatError, message_id: str | None) -> Error:
        return Error(error.code, error.message, error.retryable, error.status, self._request_id, message_id)

    def _notify_owner(self, record: GenerationRecord) -> None:
        """Notifies the owner that a client follows, so that it writes the log more often."""
        if time.monotonic() - self._notified_at > NOTIFY_SECONDS:
            self._notified_at = time.monotonic()
            with suppress(StorageError):  # without the notification the owner only writes less often
                valid_until = self._generations.now() + 2 * NOTIFY_SECONDS * 1000
                self._generations.mark_followed(self._user, record, valid_until)


def cursor(value: str) -> tuple[str, int] | None:
    """The generation and the position in `<generation>:<position>`, None for any other value."""
    match = CURSOR.fullmatch(value)
    return (match[1], int(match[2])) if match else None
