"""The application's components, as the settings say."""

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from converse_stream.aws import deadlines
from converse_stream.aws.connection_pools import announce_sockets
from converse_stream.aws.embedder import Embedder, Titan
from converse_stream.limits import Budget, Rate, Rules
from converse_stream.memory.fact_memory import FactMemory
from converse_stream.model.catalog import Catalog
from converse_stream.model.converters import Guardrail
from converse_stream.settings import Settings, SettingsError
from converse_stream.store.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CONNECT_SECONDS, READ_SECONDS = 0.5, 1.2  # of one attempt of the store's client


def store_client() -> "DynamoDBClient":
    """A client for the table with two attempts, because the table fails now and then.

    With the pause between them they fit into `deadline_margin_seconds`, beside the reader's grace.
    """
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 2},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
    )
    client = boto3.client("dynamodb", config=config)
    announce_sockets(client)
    return client


def catalog(settings: Settings) -> Catalog:
    """Raises SettingsError for models that it does not list, and a default or task model that cannot be called."""
    made, allowed = Catalog(settings.inference_profile, settings.aws_region), settings.models
    needed = {"DEFAULT_MODEL": settings.default_model, "TASK_MODEL": settings.task_model}
    for name, alias in (*needed.items(), *(("ALLOWED_MODELS", alias) for alias in allowed)):
        if alias not in made.listed:
            raise SettingsError(f"{name}: the catalog has no such model")
        if name in needed and (reason := made.out_of_reach(alias)):
            raise SettingsError(f"{name}: {reason}")
    if allowed and settings.default_model not in allowed:
        raise SettingsError("DEFAULT_MODEL: it is not one of ALLOWED_MODELS")
    return made


def guardrail(settings: Settings) -> Guardrail | None:
    """None where there is none."""
    made = Guardrail(settings.guardrail_id, settings.guardrail_version, settings.guardrail_streaming)
    return made if made.id else None


def embedder(settings: Settings, seconds: float) -> Embedder | None:
    """One that may take so many seconds; None where facts have no embeddings."""
    if not settings.embedding_model:
        return None
    return Titan(deadlines.client("bedrock-runtime", seconds), settings.embedding_model, seconds=seconds)


def fact_memory(settings: Settings, table: Table) -> FactMemory:
    """A question's embedding may take half of the budget, so that facts are there in time without it."""
    return FactMemory(table, embedder(settings, settings.memory_seconds / 2), tokens=settings.facts_tokens)


def rules(settings: Settings) -> Rules:
    """The limits of users, of addresses and of the whole deployment."""
    return Rules(
        Rate.per_minute(settings.user_requests_per_minute, settings.user_burst),
        Rate.per_minute(settings.address_requests_per_minute, settings.address_burst),
        settings.user_generations,
        Budget(settings.user_day_tokens, _billionths(settings.user_day_usd)),
        Budget(settings.day_tokens, _billionths(settings.day_usd)),
    )


def _billionths(usd: float) -> int:
    """Of a dollar; never 0 for a budget that is not 0, because that is without limit."""
    return max(1, round(usd * 1e9)) if usd else 0
