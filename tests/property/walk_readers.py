"""Rules of a walk: generations are looked at and followed."""

from converse_stream.generation import follower
from converse_stream.generation.follower import Follower
from converse_stream.protocol import log
from converse_stream.protocol.errors import NotFound, StorageError, TooManyFollowers
from converse_stream.protocol.events import (
    TERMINAL,
    Chunk,
    Citation,
    Complete,
    Reasoning,
    Rollback,
)
from tests.property.fake_table import Violation
from tests.property.walk_actors import HOSTILE, Client, Environment, KnownGeneration, atoms
from tests.property.walk_deletions import Deletions


class Readers(Deletions):
    """Clients that read."""

    def look(self) -> bool:
        """Any reader looks at a generation, and reaps it if its owner is dead."""
        environment = self._idle()
        if environment is None or not self.spoken:
            return False
        spoken = self.random.choice(list(self.spoken.values())[-8:])
        with self._act(environment, spoken.user, f"look at {spoken.gid[:6]}"):
            try:
                record = environment.generations.get_or_reap(spoken.user, spoken.gid)
                since = 0
                if record is not None:
                    read = atoms(environment.generations.read(spoken.user, record, since))
                    same = self.spoken[spoken.where] is spoken
                    if same and (read != atoms(spoken.entries)[: record.length] or len(read) != record.length):
                        raise Violation("I3: what is read is not the log")
            except StorageError:
                self._storage_error()
            except NotFound:  # deleted between the two reads
                if self.raw_record(*spoken.where) is not None:
                    raise Violation("I3: the log is there, and was not found") from None
        return True

    def pry(self) -> bool:
        """Somebody asks for what is not theirs, or is nothing at all."""
        environment = self._idle()
        if environment is None or not self.spoken:
            return False
        spoken = self.random.choice(list(self.spoken.values()))
        stranger = next(user for user in self.users if user != spoken.user)
        gid = self.random.choice((spoken.gid, *HOSTILE))
        with self._act(environment, stranger, f"pry {gid[:6]}"):
            try:
                found = environment.generations.get(stranger, gid)
                if found is not None:
                    raise Violation("I12: a stranger's generation")
                if environment.conversations.recent(stranger, spoken.conversation, 5)[1]:
                    raise Violation("I12: a stranger's messages")
                environment.conversations.rename(stranger, spoken.conversation, "mine")
            except (StorageError, NotFound):
                return True
            raise Violation("I12: a stranger's conversation has a new name")

    def join(self) -> bool:
        """Somebody follows: from the begin, or having seen a part of it live."""
        if not self.spoken or len(self.clients) > 12:
            return False
        spoken = self.random.choice(list(self.spoken.values())[-8:])
        record = self.raw_record(*spoken.where)
        if record is None:
            return False
        fresh = self.random.random() < 0.3
        most = log.end_of(spoken.entries)
        if record["st"] in ("done", "cancel", "error"):
            most = int(record["n"])
        seen = [] if fresh else atoms(spoken.entries)[: self.random.choice((0, most, self.random.randint(0, most)))]
        name = self.random.choice(("tab", self._new("tab"), *HOSTILE))
        self.clients.append(Client(spoken, name, seen, fresh))
        return True

    def follow(self) -> bool:
        """A client reads what there is, and attaches again if it must."""
        environment = self._idle()
        waiting = [
            client
            for client in self.clients
            if not (client.over or client.busy or (client.environment and client.environment.frozen))
        ]
        if environment is None or not waiting:
            return False
        client = self.random.choice(waiting)
        with self._act(
            environment, client.spoken.user, f"{client.name!r} follows {client.spoken.gid[:6]} from {len(client.seen)}"
        ):
            client.busy = True
            try:
                self._follow(environment, client)
            finally:
                client.busy = False
        return True

    def _follow(self, environment: Environment, client: Client) -> None:
        spoken = client.spoken
        try:
            if client.following is None and not self._attach(environment, client):
                return
            view = client.following
            if view is None:
                return
            placed = view.wait(client.cursor, follower.POLL_SECONDS)
        except StorageError:
            self._storage_error()
            client.following, client.fresh = None, False  # it comes back with its cursor
            return
        except NotFound:
            if (client.spoken.user, client.spoken.conversation) not in self.deleted and not self.lapsed(spoken):
                raise Violation("I3: a follower is told that there is nothing") from None
            client.over = True
            return
        client.cursor += len(placed)
        if self.spoken[spoken.where] is not spoken:  # a day later, and its key was used anew
            client.over = True
            return
        for each in placed:
            self._show(client, spoken, each)
        if view.ended and not client.over:
            client.following, client.fresh = None, False

    def _attach(self, environment: Environment, client: Client) -> bool:
        record = environment.generations.get_or_reap(client.spoken.user, client.spoken.gid)
        if record is None:
            if not self.lapsed(client.spoken):
                raise Violation("I8: a generation is gone before its time")
            client.over = True
            return False
        view = Follower(
            environment.generations,
            environment.conversations,
            client.spoken.user,
            record,
            after=None if client.fresh else len(client.seen),
            client=client.name,
            request_id="request",
            deadline=self.at + 120,
        )
        try:
            view.attach()
        except TooManyFollowers:
            client.over = True
            return False
        client.seen = client.seen if not client.fresh else []
        client.following, client.environment, client.cursor = view, environment, 0
        self.counts["attached from the table"] += 1
        return True

    def _show(self, client: Client, spoken: KnownGeneration, placed: log.PositionedEvent) -> None:
        event = placed.event
        if isinstance(event, (Chunk, Reasoning, Citation)):
            client.seen += atoms([event])
            self.counts["followed"] += 1
        elif isinstance(event, Rollback):
            self.counts["rollback"] += 1
            del client.seen[event.position :]
        if isinstance(event, (Chunk, Reasoning, Citation, Rollback)) and placed.position != len(client.seen):
            raise Violation(f"I3: {len(client.seen)} positions were seen, and the cursor is {placed.position}")
        if client.seen != atoms(spoken.entries)[: len(client.seen)]:
            raise Violation("I3: what a client has seen is not how the answer begins")
        if not isinstance(event, TERMINAL):
            return
        client.over = True
        self.counts["followed to the end"] += 1
        record = self.raw_record(*spoken.where)
        if record is None:
            return
        if record["st"] == "run":
            raise Violation("I2: a terminal event for a generation that runs")
        if int(record["ttl"]) > self.at and client.seen != self.durable(*spoken.where):
            raise Violation(f"I4: the client has {len(client.seen)} positions, the log {record['n']}")
        if not isinstance(event, Complete):
            return
        if spoken.replaced is not None and record["n"] <= spoken.begun:
            if event.ai_message.id != spoken.replaced["id"]:
                raise Violation("I4: the end shows another answer than the one that was put back")
        elif atoms(event.ai_message.parts) != client.seen:
            raise Violation("I4: the end shows another answer than the log")
