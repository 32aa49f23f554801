"""Rules of a walk: clients read and follow generations."""

from converse_stream.generation import follower
from converse_stream.generation.follower import Follower
from converse_stream.protocol import log
from converse_stream.protocol.errors import NotFound, StorageError, TooManyFollowers
from converse_stream.protocol.events import TERMINAL, Complete, Rollback
from tests.property.fake_table import Violation
from tests.property.walk_actors import HOSTILE, Client, Environment, KnownGeneration, atoms
from tests.property.walk_changes import Changes


class Readers(Changes):
    """Rules of clients that read."""

    def read(self) -> bool:
        """A reader reads a generation, and reaps it if its owner is dead."""
        environment = self._idle_environment()
        if environment is None or not self.known_generations:
            return False
        known = self.random.choice(list(self.known_generations.values())[-8:])
        with self._action(environment, known.user, f"read {known.gid[:6]}"):
            try:
                record = environment.generations.get_or_reap(known.user, known.gid)
                since = 0
                if record is not None:
                    read = atoms(environment.generations.read(known.user, record, since))
                    current = self.known_generations[known.key] is known
                    if current and (read != atoms(known.entries)[: record.length] or len(read) != record.length):
                        raise Violation("I3: the text that was read is not the log")
            except StorageError:
                self._storage_error()
            except NotFound:  # deleted between the two reads
                if self.raw_record(*known.key) is not None:
                    raise Violation("I3: a stored log was not found") from None
        return True

    def access_other_user(self) -> bool:
        """A user requests a generation and a conversation of another user, or an id that does not exist."""
        environment = self._idle_environment()
        if environment is None or not self.known_generations:
            return False
        known = self.random.choice(list(self.known_generations.values()))
        other_user = next(user for user in self.users if user != known.user)
        gid = self.random.choice((known.gid, *HOSTILE))
        with self._action(environment, other_user, f"access {gid[:6]}"):
            try:
                record = environment.generations.get(other_user, gid)
                if record is not None:
                    raise Violation("I12: a user reads another user's generation")
                if environment.conversations.recent(other_user, known.conversation, 5)[1]:
                    raise Violation("I12: a user reads another user's messages")
                environment.conversations.rename(other_user, known.conversation, "mine")
            except (StorageError, NotFound):
                return True
            raise Violation("I12: a user renames another user's conversation")

    def add_client(self) -> bool:
        """A client starts to follow a generation: from the start, or after a part that it has already received."""
        if not self.known_generations or len(self.clients) > 12:
            return False
        known = self.random.choice(list(self.known_generations.values())[-8:])
        record = self.raw_record(*known.key)
        if record is None:
            return False
        from_start = self.random.random() < 0.3
        most = log.end_of(known.entries)
        if record["st"] in ("done", "cancel", "error"):
            most = int(record["n"])
        seen = [] if from_start else atoms(known.entries)[: self.random.choice((0, most, self.random.randint(0, most)))]
        name = self.random.choice(("tab", self._new("tab"), *HOSTILE))
        self.clients.append(Client(known, name, seen, from_start))
        return True

    def follow(self) -> bool:
        """A client reads the new events, and attaches again if necessary."""
        environment = self._idle_environment()
        active_clients = [
            client
            for client in self.clients
            if not (client.ended or client.busy or (client.environment and client.environment.frozen))
        ]
        if environment is None or not active_clients:
            return False
        client = self.random.choice(active_clients)
        with self._action(
            environment, client.known.user, f"{client.name!r} follows {client.known.gid[:6]} from {len(client.seen)}"
        ):
            client.busy = True
            try:
                self._follow(environment, client)
            finally:
                client.busy = False
        return True

    def _follow(self, environment: Environment, client: Client) -> None:
        known = client.known
        try:
            if client.follower is None and not self._attach(environment, client):
                return
            view = client.follower
            if view is None:
                return
            events = view.wait(client.cursor, follower.POLL_SECONDS)
        except StorageError:
            self._storage_error()
            client.follower, client.from_start = None, False  # it resumes with its cursor
            return
        except NotFound:
            if (client.known.user, client.known.conversation) not in self.deleted and not self.expired(known):
                raise Violation("I3: a follower gets not_found for an existing generation") from None
            client.ended = True
            return
        client.cursor += len(events)
        if self.known_generations[known.key] is not known:  # a day later, and the key was reused
            client.ended = True
            return
        for positioned in events:
            self._receive(client, known, positioned)
        if view.ended and not client.ended:
            client.follower, client.from_start = None, False

    def _attach(self, environment: Environment, client: Client) -> bool:
        record = environment.generations.get_or_reap(client.known.user, client.known.gid)
        if record is None:
            if not self.expired(client.known):
                raise Violation("I8: a generation is removed before its ttl")
            client.ended = True
            return False
        view = Follower(
            environment.generations,
            environment.conversations,
            client.known.user,
            record,
            after=None if client.from_start else len(client.seen),
            client=client.name,
            request_id="request",
            deadline=self.now + 120,
        )
        try:
            view.attach()
        except TooManyFollowers:
            client.ended = True
            return False
        client.seen = client.seen if not client.from_start else []
        client.follower, client.environment, client.cursor = view, environment, 0
        self.counts["attached from the table"] += 1
        return True

    def _receive(self, client: Client, known: KnownGeneration, positioned: log.PositionedEvent) -> None:
        event = positioned.event
        if isinstance(event, log.ENTRIES):
            client.seen += atoms([event])
            self.counts["followed"] += 1
        elif isinstance(event, Rollback):
            self.counts["rollback"] += 1
            del client.seen[event.position :]
        if isinstance(event, (*log.ENTRIES, Rollback)) and positioned.position != len(client.seen):
            raise Violation(f"I3: {len(client.seen)} positions were received, and the cursor is {positioned.position}")
        if client.seen != atoms(known.entries)[: len(client.seen)]:
            raise Violation("I3: the text that a client has received is not a prefix of the answer")
        if not isinstance(event, TERMINAL):
            return
        client.ended = True
        self.counts["followed to the end"] += 1
        record = self.raw_record(*known.key)
        if record is None:
            return
        if record["st"] == "run":
            raise Violation("I2: a terminal event for a running generation")
        if int(record["ttl"]) > self.now and client.seen != self.durable(*known.key):
            raise Violation(f"I4: the client has {len(client.seen)} positions, the log {record['n']}")
        if not isinstance(event, Complete):
            return
        if known.replaced is not None and record["n"] <= known.prefix_length:
            if event.ai_message.id != known.replaced["id"]:
                raise Violation("I4: the terminal event has another answer than the restored one")
        elif atoms(event.ai_message.parts) != client.seen:
            raise Violation("I4: the terminal event has another answer than the log")
