"""Rules of a walk: generations are cancelled; conversations are deleted, renamed and created; usage is read."""

from contextlib import suppress
from datetime import UTC, datetime

from converse_stream.protocol.errors import AlreadyExists, ErasureInProgress, NotFound, StorageError
from converse_stream.store import keys, usage
from tests.property.fake_table import Violation
from tests.property.walk_actors import Environment, Profile, Send
from tests.property.walk_answers import Generating

LATE_TRANSACTIONS = Profile(faults=0, nested=0.02, crashes=0, late=0.3)


class Changes(Generating):
    """Rules of users that cancel, delete, rename and create."""

    def cancel(self) -> bool:
        """A user cancels a generation."""
        environment = self._idle_environment()
        if environment is None or not self.known_conversations:
            return False
        user, conversation = self.random.choice(self.known_conversations[-6:])
        with self._action(environment, user, f"cancel {conversation}"):
            try:
                active = environment.conversations.get(user, conversation).active
                record = environment.generations.get_or_reap(user, active) if active else None
                if record is None:
                    return False
                environment.generations.cancel(user, record)
            except StorageError:
                self._storage_error()
                return True
            stored = self.raw_record(user, record.gid)
            if stored is not None and stored["st"] == "run" and not stored.get("cx"):
                raise Violation("I7: an acknowledged cancel is not stored")
            self.counts["cancel acknowledged"] += stored is not None and stored["st"] == "run"
        return True

    def delete(self) -> bool:
        """A user deletes a conversation, or continues an unfinished deletion."""
        environment = self._idle_environment()
        if environment is None or not self.known_conversations:
            return False
        user, conversation = self.random.choice(sorted(self.deleting) or self.known_conversations[-6:])
        if (user, conversation) in self.deleted and (user, conversation) not in self.deleting:
            return False
        with self._action(environment, user, f"delete {conversation}"):
            self.deleting.add((user, conversation))
            deadline = self.now + (self.random.uniform(0, 3) if not self.draining else 1e9)
            self._delete(environment, user, conversation, deadline)
        return True

    def _delete(self, environment: Environment, user: str, conversation: str, deadline: float) -> None:
        pk, is_running = keys.conversation(user, conversation), False
        if active := self.dynamo.items.get((pk, keys.META), {}).get("active"):
            is_running = (self.raw_record(user, active) or {}).get("st") == "run"
        try:
            done = environment.erasure.delete_conversation(user, conversation, deadline)
        except StorageError:
            return
        except NotFound:
            self.deleting.discard((user, conversation))
            return
        if not done:
            self.counts["deletion unfinished"] += 1
            return
        self.counts["deleted during a generation"] += is_running
        self.deleting.discard((user, conversation))
        remaining = [item["sk"] for item in self.dynamo.partition(pk)]
        if remaining not in ([], [keys.META]) and self._meta_deleted(pk):
            raise Violation(f"I14: a conversation is deleted, but these items remain: {remaining}")

    def erase(self) -> bool:
        """A user erases everything, including a conversation created just before, or a task continues an erasure."""
        environment, user = self._idle_environment(), self.users[-1]
        if environment is None or (not self._is_erased(user) and self.random.random() < 0.6):
            return False
        with self._action(environment, user, "erase all"):
            with suppress(StorageError, ErasureInProgress):
                environment.conversations.create(user, self._new("conversation"), None)
            self._erase(environment, user)
        return True

    def _erase(self, environment: Environment, user: str) -> None:
        deadline = self.now + (self.random.uniform(1, 40) if not self.draining else 1e9)
        calls = [environment.erasure.erase_user, environment.erasure.resume]
        call = self.random.choice(calls) if self._is_erased(user) else calls[0]
        erasures = self.erasures[user]
        try:
            done = call(user, deadline)
        except StorageError:
            self._storage_error()
            return
        if not done:
            self.counts["erasure unfinished"] += 1
        elif self._is_erased(user) and self.erasures[user] == erasures:
            raise Violation("I14: the erasure is complete, but its mark is stored")

    def reuse_conversations(self) -> bool:
        """An erased user creates old conversations again and deletes them; then late writes arrive."""
        user = self.users[-1]
        profile, self.profile = self.profile, LATE_TRANSACTIONS
        for _ in range(6):
            environment = self._idle_environment()
            if environment is not None:
                with self._action(environment, user, "continue the erasure"):
                    self._erase(environment, user)
            if not self._is_erased(user):
                break
        self.profile = profile
        if not self.dynamo.late or self._is_erased(user):
            return False
        for _, conversation in [key for key in self.known_conversations if key[0] == user][-4:]:
            environment = self._idle_environment()
            if environment is None:
                break
            self._send(Send(user, self._new("key"), "payload", conversation, "send", "again"), environment)
            environment.running = None
            with self._action(environment, user, f"delete {conversation} again"):
                self.deleting.add((user, conversation))
                self._delete(environment, user, conversation, self.now + self.random.choice((0.0, 60.0)))
        return self.deliver_late_writes()

    def read_usage(self) -> bool:
        """A user reads the usage, in some cases while every batch returns unprocessed keys."""
        environment = self._idle_environment()
        if environment is None:
            return False
        user = self.random.choice(self.users)
        day, minimum = self._deployment_tokens(environment)
        with self._action(environment, user, "read the usage"):
            self._batches, self._throttled = 0, self.random.random() < 0.1
            try:
                used = environment.usages.read(user, "here")
            except StorageError:
                self._storage_error()
                return True
            finally:
                self._throttled = False
            same_day, maximum = self._deployment_tokens(environment)
            if day == same_day and not minimum <= used.deployment.tokens <= maximum:
                raise Violation(f"I13: {used.deployment.tokens} tokens read, but {minimum} to {maximum} are stored")
        return True

    def _deployment_tokens(self, environment: Environment) -> tuple[str, int]:
        """Returns the day by the environment's clock, and the deployment's stored tokens of that day."""
        day = datetime.fromtimestamp(self.now + environment.skew, UTC).date().isoformat()
        shards = (self.dynamo.items.get(keys.deployment_day(day, shard), {}) for shard in range(usage.SHARDS))
        return day, sum(int(item[name]) for item in shards if item for name in ("tokens_in", "tokens_out"))

    def rename(self) -> bool:
        """A user renames a conversation, possibly a deleted one."""
        environment = self._idle_environment()
        if environment is None or not self.known_conversations:
            return False
        user, conversation = self.random.choice(self.known_conversations[-6:])
        deleted = (user, conversation) in self.deleted
        with self._action(environment, user, f"rename {conversation}"):
            try:
                environment.conversations.rename(user, conversation, "title")
            except (StorageError, NotFound):
                return True
            if deleted and (user, conversation) in self.deleted:
                raise Violation("I14: a deleted conversation was renamed")
        return True

    def create(self) -> bool:
        """A user creates a conversation, possibly with the id of a deleted one."""
        environment = self._idle_environment()
        if environment is None:
            return False
        user = self.random.choice(self.users)
        own = [conversation for name, conversation in self.known_conversations if name == user]
        conversation = self.random.choice(own) if own and self.random.random() < 0.5 else self._new("conversation")
        with self._action(environment, user, f"create {conversation}"):
            try:
                environment.conversations.create(user, conversation, None)
                if (user, conversation) not in self.known_conversations:
                    self.known_conversations.append((user, conversation))
            except (StorageError, AlreadyExists, ErasureInProgress):
                return True
        return True
