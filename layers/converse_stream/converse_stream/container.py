"""The composition root: builds all clients and stores from the settings, once in an execution environment."""

import time
from collections.abc import Mapping
from functools import cached_property
from os import environ
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from converse_stream.auth import User, authenticator
from converse_stream.aws import clients, deadlines
from converse_stream.aws.configuration import read
from converse_stream.aws.connection_pools import IDLE_CONNECTION_SECONDS
from converse_stream.aws.connections import open_connections
from converse_stream.aws.embedder import Embedder, Titan
from converse_stream.dispatch.deletion import Deletion
from converse_stream.dispatch.learning import DISPATCH_SECONDS, Invoker, Learning
from converse_stream.flags.feature_flags import flags_of
from converse_stream.limits import Budget, Rate, Rules
from converse_stream.memory.fact_memory import FactMemory
from converse_stream.memory.knowledge_base import KnowledgeBase
from converse_stream.memory.lookup import LOOKUPS, Lookup
from converse_stream.memory.recall import MemoryStore, Recall
from converse_stream.model.allowed import AllowedModels
from converse_stream.model.catalog import Catalog, Fields
from converse_stream.model.client import ModelClient
from converse_stream.model.converters import Guardrail, RequestSettings
from converse_stream.model.transport import Bedrock, bedrock_service
from converse_stream.settings import Settings, SettingsError
from converse_stream.store.conversations import Conversations
from converse_stream.store.erasure import Erasure
from converse_stream.store.facts import Facts
from converse_stream.store.generations import Generations
from converse_stream.store.learned_marks import LearnedMarks
from converse_stream.store.retention import Retention
from converse_stream.store.table import Table
from converse_stream.store.usage import PARALLEL_CALLS, UsageStore

ATTEMPT_CONNECT_SECONDS, ATTEMPT_READ_SECONDS = 0.5, 1.2  # time-outs of one attempt of the client for the table
CONNECT_SECONDS = 2.0  # to open the first connections; Lambda limits the whole init to 10
FACT_EMBEDDING_SECONDS = 2.0  # for the embedding of a new fact; that of a question has less time


class Container:
    """The objects that the use cases in `converse_stream.service` and the tasks work with."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.authenticate = authenticator(settings)
        store = _store_client()
        lookups = deadlines.client("dynamodb", settings.cold_memory_seconds)
        service = bedrock_service(idle_seconds=settings.model_idle_seconds)
        bedrock = Bedrock(service, environ.get("AWS_BEARER_TOKEN_BEDROCK"))
        lookup_table = Table(lookups, settings.table_name)
        self.table = Table(store, settings.table_name)
        self.conversations = Conversations(self.table, Retention(settings.retention_days))
        self.generations = Generations(self.table, self.conversations)
        self.erasure = Erasure(self.table, self.conversations, self.generations)
        self.facts = Facts(self.table, _embedder(settings, FACT_EMBEDDING_SECONDS))
        self.learned_marks = LearnedMarks(self.table)
        self.flags = flags_of(settings)
        tasks = settings.task_function or settings.aws_lambda_function_name
        self.learning = Learning(self.invoker if settings.learning == "enabled" else None, tasks, self.flags)
        self.deletion = Deletion(self.erasure, lambda: self.invoker, tasks)
        rules = _rules(settings)
        self.usages = UsageStore(self.table, rules)
        self._own_key_usages = UsageStore(self.table, rules.without_costs())
        self.lookup = Lookup(lookup_table, messages=settings.history_messages)
        self.recall = Recall({"facts": _fact_memory(settings, lookup_table)})
        documents, stores = [], dict[str, MemoryStore]()
        if settings.knowledge_base_id:
            documents = [deadlines.client("bedrock-agent-runtime", settings.documents_seconds)]
            stores["documents"] = KnowledgeBase(
                documents[0],
                settings.knowledge_base_id,
                tokens=settings.documents_tokens,
                min_score=settings.documents_min_score,
            )
        self.documents = Recall(stores)
        self.models = _models(settings, rules, bedrock)
        self._last_lookup_at = 0.0  # by the wall clock, because the monotonic clock stops while the sandbox is frozen
        open_connections([*[store] * PARALLEL_CALLS, *[lookups] * LOOKUPS, bedrock, *documents], CONNECT_SECONDS)

    @classmethod
    def from_environment(cls) -> "Container":
        """Builds the container from the environment. Raises SettingsError: then the function does not start."""
        return cls(Settings.from_environment())

    @cached_property
    def invoker(self) -> Invoker:
        """The client that starts tasks, created for the first one."""
        invoker: Invoker = deadlines.client("lambda", DISPATCH_SECONDS)
        return invoker

    def usages_of(self, user: User) -> UsageStore:
        """The limits of the user; without costs if the request has its own Bedrock key."""
        return self._own_key_usages if user.bedrock_key else self.usages

    def lookup_deadline(self) -> float:
        """The deadline of a lookup that begins now, by the monotonic clock.

        It is later if the connections may have to be opened.
        """
        previous, self._last_lookup_at = self._last_lookup_at, time.time()
        is_cold = self._last_lookup_at - previous > IDLE_CONNECTION_SECONDS
        return time.monotonic() + (self.settings.cold_memory_seconds if is_cold else self.settings.memory_seconds)


def _store_client() -> Any:
    """Returns a client for the table with two attempts, because single requests fail now and then.

    Both attempts, the pause between them and the grace period of the reader fit into `deadline_margin_seconds`.
    """
    return clients.client(
        "dynamodb", attempts=2, connect_seconds=ATTEMPT_CONNECT_SECONDS, read_seconds=ATTEMPT_READ_SECONDS
    )


def _models(settings: Settings, rules: Rules, bedrock: Bedrock) -> ModelClient:
    """Returns the models.

    Raises SettingsError for an unknown model, for a default or task model that cannot be called, and for a model
    without a price if there is a budget in dollars.
    """
    catalog = Catalog(settings.inference_profile, settings.aws_region, _overrides(settings))
    try:
        catalog.check_overrides()
    except ValueError as error:
        raise SettingsError(f"MODEL_OVERRIDES: {error}") from None
    needed = [("DEFAULT_MODEL", settings.default_model), ("TASK_MODEL", settings.task_model)]
    allowed = [("ALLOWED_MODELS", name) for name in settings.models if "*" not in name]
    for variable, name in (*needed, *allowed):
        model = catalog.get(name)
        if model is None and (reason := catalog.unavailable_reason(name)):
            if variable == "ALLOWED_MODELS":
                continue  # the default list has models that not every region has
            raise SettingsError(f"{variable}: {reason}")
        if model is None:
            raise SettingsError(f"{variable}: {name} is no alias ({', '.join(catalog)}), no model id and no ARN")
        if rules.limits_costs and not model.price:
            raise SettingsError(f"{variable}: {name} has no price; set it in MODEL_OVERRIDES, or the budgets to 0")
    return ModelClient(
        bedrock,
        catalog,
        AllowedModels(catalog, settings.models, settings.default_model),
        RequestSettings(_guardrail(settings), settings.prompt_cache_ttl),
    )


def _overrides(settings: Settings) -> Mapping[str, Fields]:
    """The overrides of the catalog. Raises SettingsError, which names the wrong fields."""
    if not settings.model_overrides:
        return {}
    from converse_stream.model import overrides  # its import costs a start

    try:
        return overrides.parse(read(settings.model_overrides))
    except (OSError, BotoCoreError, ClientError) as error:
        raise SettingsError(f"MODEL_OVERRIDES: cannot be read ({type(error).__name__})") from error
    except ValueError as error:
        raise SettingsError(f"MODEL_OVERRIDES: {error}") from None


def _guardrail(settings: Settings) -> Guardrail | None:
    """The guardrail of the settings, None without one."""
    guardrail = Guardrail(settings.guardrail_id, settings.guardrail_version, settings.guardrail_streaming)
    return guardrail if guardrail.id else None


def _embedder(settings: Settings, seconds: float) -> Embedder | None:
    """An embedder with a time limit of `seconds`; None if embeddings are disabled."""
    if not settings.embedding_model:
        return None
    return Titan(deadlines.client("bedrock-runtime", seconds), settings.embedding_model, seconds=seconds)


def _fact_memory(settings: Settings, table: Table) -> FactMemory:
    """The embedding of a question may take half of the time limit, so that facts are found in time without it."""
    return FactMemory(table, _embedder(settings, settings.memory_seconds / 2), tokens=settings.facts_tokens)


def _rules(settings: Settings) -> Rules:
    """The limits of users, of IP addresses and of the deployment."""
    return Rules(
        Rate.per_minute(settings.user_requests_per_minute, settings.user_burst),
        Rate.per_minute(settings.address_requests_per_minute, settings.address_burst),
        settings.user_generations,
        Budget(settings.user_day_tokens, _billionths(settings.user_day_usd)),
        Budget(settings.day_tokens, _billionths(settings.day_usd)),
    )


def _billionths(usd: float) -> int:
    """Billionths of a US dollar. 0 means no limit, so a budget above 0 is never rounded to 0."""
    return max(1, round(usd * 1e9)) if usd else 0
