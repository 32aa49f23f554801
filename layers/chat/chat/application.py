"""Everything that lives as long as the execution environment, built once, in this one place."""

import time

import boto3
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

from chat.auth import User
from chat.events import Chunk, Message, Progress, Start
from chat.ids import new_id, now
from chat.memory.lookup import Lookup
from chat.model import transport
from chat.model.answer import Models
from chat.model.catalog import Catalog
from chat.model.transport import Bedrock, Call
from chat.prompts import prompt
from chat.requests import ChatRequest
from chat.settings import Settings, SettingsError
from chat.store.conversations import Conversations
from chat.store.facts import Facts
from chat.store.table import Table
from chat.telemetry import logger
from chat.turn import Limits, Speech, Turn


class Application:
    """The chat behind both functions."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        store = boto3.client("dynamodb", config=_store_config(connect=0.5, read=1.2))
        patience = settings.memory_seconds / 2
        quick = boto3.client("dynamodb", config=_store_config(connect=patience, read=patience))
        bedrock = boto3.client("bedrock-runtime", config=transport.config(idle_seconds=settings.model_idle_seconds))
        table = Table(store, settings.table_name)
        self.conversations = Conversations(table)
        self.facts = Facts(table)
        self._lookup = Lookup(
            Table(quick, settings.table_name), seconds=settings.memory_seconds, messages=settings.history_messages
        )
        catalog = Catalog(settings.inference_profile)
        for name in ("default_model", "task_model"):
            if getattr(settings, name) not in catalog:
                raise SettingsError(f"{name.upper()}: no such model in the catalog")
        self.models = Models(Bedrock(bedrock), catalog)

    @classmethod
    def from_environment(cls) -> "Application":
        """Raises SettingsError, and then the function does not start."""
        return cls(Settings.from_environment())

    def start(self, user: User, request: ChatRequest, context: LambdaContext, *, at_most: float = float("inf")) -> Turn:
        """Stores the user's message and returns its turn, not yet begun.

        The model may speak until a margin before Lambda's deadline, and for `at_most` seconds. Raises BadRequest
        before anything is stored, Conflict when another message to the conversation came first, StorageError.
        """
        left = context.get_remaining_time_in_millis() / 1000 - self.settings.deadline_margin_seconds
        deadline = time.monotonic() + min(left, at_most)
        alias = request.model or self.settings.default_model
        self.models.check(alias, request.options)
        start = Start(request.conversation_id or new_id(), new_id(), new_id(), alias)
        memory = self._lookup(user.key, start.conversation_id)
        conversation = memory.conversation or self.conversations.get(user.key, start.conversation_id)
        message = Message(
            id=new_id(),
            role="user",
            parts=(Chunk(request.message.text),),
            created_at=now(),
            generation_id=start.generation_id,
        )
        place = self.conversations.start(user.key, conversation, message)
        logger.append_keys(user=user.key[:12], conversation=start.conversation_id, generation=start.generation_id)
        built = prompt.build(
            memory,
            request.message.text,
            assistant=self.settings.assistant_name,
            history_tokens=self.settings.history_tokens,
            facts_tokens=self.settings.facts_tokens,
        )

        def speak(call: Call) -> Speech:
            return self.models.answer(built, alias, request.options, call)

        def store(answer: Message) -> None:
            self.conversations.finish(user.key, start.conversation_id, place, answer)

        limits = Limits(deadline, self.settings.model_idle_seconds, self.settings.max_answer_bytes)
        missing = [Progress("memory", f"{part} left out") for part in memory.missing]
        return Turn(start, message, speak, store, limits, context.aws_request_id, before=missing)


def _store_config(*, connect: float, read: float) -> Config:
    """Two attempts, because a pooled connection may have died while the environment slept.

    With the pause between them they fit into `deadline_margin_seconds`, beside the reader's grace.
    """
    return Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=connect, read_timeout=read)
