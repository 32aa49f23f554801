"""Rules of a walk: answers are stopped; conversations are deleted, named and created; use is added up."""

from contextlib import suppress
from datetime import UTC, datetime

from converse_stream.protocol.errors import (
    AlreadyExists,
    ErasureInProgress,
    NotFound,
    StorageError,
)
from converse_stream.store import keys, usage
from tests.property.fake_table import Violation
from tests.property.walk_actors import Environment, Send
from tests.property.walk_answers import Answers


class Deletions(Answers):
    """Users that stop, delete, name and create."""

    def cancel(self) -> bool:
        """Somebody stops an answer."""
        environment = self._idle()
        if environment is None or not self.known:
            return False
        user, conversation = self.random.choice(self.known[-6:])
        with self._act(environment, user, f"cancel {conversation}"):
            try:
                active = environment.conversations.get(user, conversation).active
                record = environment.generations.get_or_reap(user, active) if active else None
                if record is None:
                    return False
                environment.generations.cancel(user, record)
            except StorageError:
                self._storage_error()
                return True
            there = self.raw_record(user, record.gid)
            if there is not None and there["st"] == "run" and not there.get("cx"):
                raise Violation("I7: a cancel was acknowledged, and is not there")
            self.counts["cancel acknowledged"] += there is not None and there["st"] == "run"
        return True

    def delete(self) -> bool:
        """Somebody deletes a conversation, or goes on deleting one."""
        environment = self._idle()
        if environment is None or not self.known:
            return False
        user, conversation = self.random.choice(sorted(self.deleting) or self.known[-6:])
        if (user, conversation) in self.deleted and (user, conversation) not in self.deleting:
            return False
        with self._act(environment, user, f"delete {conversation}"):
            self.deleting.add((user, conversation))
            deadline = self.at + (self.random.uniform(0, 3) if not self.calm else 1e9)
            self._delete(environment, user, conversation, deadline)
        return True

    def _delete(self, environment: Environment, user: str, conversation: str, deadline: float) -> None:
        pk, runs = keys.conversation(user, conversation), False
        if active := self.dynamo.items.get((pk, keys.META), {}).get("active"):
            runs = (self.raw_record(user, active) or {}).get("st") == "run"
        try:
            done = environment.erasure.delete_conversation(user, conversation, deadline)
        except StorageError:
            return
        except NotFound:
            self.deleting.discard((user, conversation))
            return
        if not done:
            self.counts["deletion broken off"] += 1
            return
        self.counts["deleted mid-answer"] += runs
        self.deleting.discard((user, conversation))
        left = [item["sk"] for item in self.dynamo.partition(pk)]
        if left not in ([], [keys.META]) and self._meta_deleted(pk):
            raise Violation(f"I14: deleted, and still there: {left}")

    def erase(self) -> bool:
        """Somebody takes everything away, also what they began a moment ago, or a task goes on with that."""
        environment, user = self._idle(), self.users[-1]
        if environment is None or (not self._is_erased(user) and self.random.random() < 0.6):
            return False
        with self._act(environment, user, "erase all"):
            with suppress(StorageError, ErasureInProgress):
                environment.conversations.create(user, self._new("conversation"), None)
            self._erase(environment, user)
        return True

    def _erase(self, environment: Environment, user: str) -> None:
        deadline = self.at + (self.random.uniform(1, 40) if not self.calm else 1e9)
        calls = [environment.erasure.erase_user, environment.erasure.resume]
        call = self.random.choice(calls) if self._is_erased(user) else calls[0]
        erasures = self.erasures[user]
        try:
            done = call(user, deadline)
        except StorageError:
            self._storage_error()
            return
        if not done:
            self.counts["erasure broken off"] += 1
        elif self._is_erased(user) and self.erasures[user] == erasures:
            raise Violation("I14: all is erased, and the mark is there")

    def use_again(self) -> bool:
        """A user whose data was erased creates old conversations again and deletes them; then late writes arrive."""
        user = self.users[-1]
        for _ in range(5):
            environment = self._idle()
            if environment is not None and self._is_erased(user):
                with self._act(environment, user, "go on erasing"):
                    self._erase(environment, user)
        if not self.dynamo.late or self._is_erased(user):
            return False
        for _, conversation in [known for known in self.known if known[0] == user][-4:]:
            environment = self._idle()
            if environment is None:
                break
            self._send(Send(user, self._new("key"), "payload", conversation, "send", "again"), environment)
            environment.turn = None
            with self._act(environment, user, f"delete {conversation} again"):
                self.deleting.add((user, conversation))
                self._delete(environment, user, conversation, self.at)
        return self.deliver()

    def add_up(self) -> bool:
        """Somebody asks what was used so far; perhaps the table reads no batch to its end."""
        environment = self._idle()
        if environment is None:
            return False
        user = self.random.choice(self.users)
        day, least = self._everybody(environment)
        with self._act(environment, user, "add up"):
            self._batches, self._throttled = 0, self.random.random() < 0.1
            try:
                used = environment.usages.read(user, "here")
            except StorageError:
                self._storage_error()
                return True
            finally:
                self._throttled = False
            same, most = self._everybody(environment)
            if day == same and not least <= used.deployment.tokens <= most:
                raise Violation(f"I13: {used.deployment.tokens} tokens are read, and {least} to {most} were counted")
        return True

    def _everybody(self, environment: Environment) -> tuple[str, int]:
        """The day by the environment's clock, and the tokens that are counted in it."""
        day = datetime.fromtimestamp(self.at + environment.skew, UTC).date().isoformat()
        shards = (self.dynamo.items.get(keys.deployment_day(day, shard), {}) for shard in range(usage.SHARDS))
        return day, sum(int(item[name]) for item in shards if item for name in ("tokens_in", "tokens_out"))

    def rename(self) -> bool:
        """Somebody names a conversation, perhaps a deleted one."""
        environment = self._idle()
        if environment is None or not self.known:
            return False
        user, conversation = self.random.choice(self.known[-6:])
        gone = (user, conversation) in self.deleted
        with self._act(environment, user, f"rename {conversation}"):
            try:
                environment.conversations.rename(user, conversation, "title")
            except (StorageError, NotFound):
                return True
            if gone and (user, conversation) in self.deleted:
                raise Violation("I14: a deleted conversation has a new name")
        return True

    def create(self) -> bool:
        """Somebody creates a conversation, perhaps under an id that was deleted."""
        environment = self._idle()
        if environment is None:
            return False
        user = self.random.choice(self.users)
        mine = [conversation for name, conversation in self.known if name == user]
        conversation = self.random.choice(mine) if mine and self.random.random() < 0.5 else self._new("conversation")
        with self._act(environment, user, f"create {conversation}"):
            try:
                environment.conversations.create(user, conversation, None)
                if (user, conversation) not in self.known:
                    self.known.append((user, conversation))
            except (StorageError, AlreadyExists, ErasureInProgress):
                return True
        return True
