"""The settings: environment variables, read once and validated before the first request."""

import os
import re
from collections.abc import Mapping
from decimal import ROUND_UP, Decimal, InvalidOperation
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

# The URLs of an issuer and its keys: https, or http on the same host for the issuer of the local stack.
SECURE_URL = re.compile(r"(https://[^\s/?#@]+|http://(127\.0\.0\.1|localhost)(:[0-9]+)?)(/\S*)?")
ASYMMETRIC = frozenset({f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)} | {"EdDSA"})


class SettingsError(Exception):
    """The configuration is wrong, and the function must not start. The message has names of variables, never values."""


DEFAULT_ALLOWED = "nova-micro,nova-lite,nova-pro,nova-2-lite,claude-haiku,claude-sonnet"
MAX_DIGITS = 18  # of a count


def _count(value: object) -> object:
    """Parses a whole number such as `1e6` or `30.0`: CloudFormation accepts both for a parameter of type Number.

    Fractions are rounded away from 0, because 0 means no limit.
    """
    if not isinstance(value, str):
        return value
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError("a number is needed") from None
    if not number.is_finite() or number.adjusted() >= MAX_DIGITS:
        raise ValueError(f"a number of at most {MAX_DIGITS} digits is needed")
    return int(number.to_integral_value(ROUND_UP))


Count = Annotated[int, BeforeValidator(_count)]


def _patterns(text: str) -> list[str]:
    """The regular expressions in a list with `;;` or a new line between them."""
    return [pattern.strip() for pattern in re.split(r";;|\n", text) if pattern.strip()]


class Settings(BaseModel):
    """One field for each environment variable of template.yaml, in lower case. `_chars` are Unicode code points."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    table_name: str = Field(min_length=3)
    auth_mode: Literal["iam", "jwt", "dev"]
    url_auth_type: Literal["NONE", "AWS_IAM"]
    allowed_origins: str = ""
    origin_secret: str = Field(
        default="", pattern=r"^([A-Za-z0-9_-]{32,128})?$", repr=False
    )  # known to the web host only
    jwt_issuer: str = ""  # as in the `iss` claim of its tokens
    jwt_audience: str = ""
    jwt_algorithms: str = "RS256"
    jwks_url: str = ""  # for an issuer without OpenID Connect Discovery
    default_model: str = "nova-lite"
    task_model: str = "nova-micro"
    allowed_models: str = DEFAULT_ALLOWED  # names and patterns, separated by commas
    model_overrides: str = ""  # JSON, an SSM parameter or a file
    prompt_cache_ttl: Literal["5m", "1h"] = "5m"
    guardrail_id: str = Field(default="", pattern=r"^[a-z0-9]*$")
    guardrail_version: str = Field(default="", pattern=r"^([1-9][0-9]{0,7}|DRAFT)?$")
    guardrail_streaming: Literal["sync", "async"] = "sync"
    inference_profile: Literal["auto", "us", "eu", "apac", "jp", "au", "us-gov", "global", "none"] = "auto"
    aws_region: str = ""  # set by Lambda; `auto` depends on it
    learning: Literal["enabled", "disabled"] = "disabled"
    task_function: str = ""  # runs the tasks; empty if this function does
    aws_lambda_function_name: str = ""  # set by Lambda
    classify_labels: str = ""
    classify_function: str = ""  # invoked with the label of each message
    never_learn_patterns: str = Field(default="", max_length=1_000)  # regular expressions; see `never_learn`
    appconfig_application: str = ""
    appconfig_environment: str = ""
    appconfig_profile: str = ""
    flags_file: str = ""  # instead of AppConfig
    assistant_name: str = Field(default="Assistant", min_length=1, max_length=60)

    buffered_turn_seconds: float = Field(default=25, gt=0)  # API Gateway ends a request after 30 s
    deadline_margin_seconds: float = Field(default=7, gt=0)  # to store the answer before Lambda ends the invocation
    model_idle_seconds: float = Field(default=90, gt=0)  # longest silence of a model, also in one piece
    memory_milliseconds: Count = Field(default=300, gt=0)  # time limit of a lookup
    cold_memory_milliseconds: Count = Field(default=1_000, gt=0)  # the same if connections may have to be opened
    documents_milliseconds: Count = Field(default=1_500, gt=0)  # time limit of the search for documents
    knowledge_base_id: str = Field(default="", pattern=r"^([0-9A-Za-z]{10})?$")  # for the search for documents
    embedding_model: Literal["", "titan-embed-v2"] = ""  # facts are also ranked by meaning

    max_body_bytes: Count = Field(default=256 * 1024, gt=0)
    max_completion_bytes: Count = Field(default=2 * 1024 * 1024, gt=0)  # with the whole history
    max_message_chars: Count = Field(default=32_000, gt=0)
    max_answer_bytes: Count = Field(default=3 * 1024 * 1024, gt=0)  # as stored; a transaction is limited to 4 MB
    max_continued_bytes: Count = Field(default=100_000, gt=0)  # as stored: the new log begins with it, in one item
    max_fact_chars: Count = Field(default=500, gt=0)
    max_facts: Count = Field(default=500, gt=0)
    history_messages: Count = Field(default=60, gt=0)
    history_tokens: Count = Field(default=12_000, ge=0)
    facts_tokens: Count = Field(default=1_000, ge=0)
    documents_tokens: Count = Field(default=2_000, ge=0)
    documents_min_score: float = Field(default=0, ge=0, le=1)  # of a passage, as the knowledge base scores it

    user_requests_per_minute: Count = Field(default=30, gt=0, le=6_000)
    user_burst: Count = Field(default=10, gt=0)
    address_requests_per_minute: Count = Field(default=300, gt=0, le=60_000)
    address_burst: Count = Field(default=100, gt=0)
    user_generations: Count = Field(default=5, gt=0)  # running at the same time
    user_day_tokens: Count = Field(default=1_000_000, ge=0)  # of a day in UTC; here and below, 0 means no limit
    user_day_usd: float = Field(default=5, ge=0)
    day_tokens: Count = Field(default=0, ge=0)  # of the whole deployment
    day_usd: float = Field(default=100, ge=0)
    retention_days: Count = Field(default=0, ge=0)  # of conversations after their last change; 0 keeps them

    @field_validator("allowed_origins")
    @classmethod
    def _no_wildcard(cls, value: str) -> str:
        if "*" in value:
            raise ValueError("a wildcard origin is not allowed")
        return value

    @field_validator("jwt_issuer", "jwks_url")
    @classmethod
    def _secure(cls, value: str) -> str:
        if value and not SECURE_URL.fullmatch(value):
            raise ValueError("an https address is needed")
        return value

    @field_validator("jwt_algorithms")
    @classmethod
    def _asymmetric(cls, value: str) -> str:
        if not ASYMMETRIC.issuperset(value.split(",")):
            raise ValueError(f"a list of {', '.join(sorted(ASYMMETRIC))} is needed")
        return value

    @field_validator("never_learn_patterns")
    @classmethod
    def _patterns_compile(cls, value: str) -> str:
        for number, pattern in enumerate(_patterns(value), 1):
            try:
                matches_all = re.search(pattern, "") is not None
            except re.error:
                raise ValueError(f"pattern {number} is not a regular expression of Python") from None
            if matches_all:
                raise ValueError(f"pattern {number} matches every text")
        return value

    @model_validator(mode="after")
    def _auth_settings_fit(self) -> Self:
        if self.auth_mode == "jwt" and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError("AUTH_MODE jwt needs JWT_ISSUER and JWT_AUDIENCE")
        if self.auth_mode == "iam" and self.url_auth_type != "AWS_IAM":
            raise ValueError("a Function URL of AuthType NONE needs AUTH_MODE jwt")
        return self

    @model_validator(mode="after")
    def _guardrail_is_whole(self) -> Self:
        if bool(self.guardrail_id) != bool(self.guardrail_version):
            raise ValueError("GUARDRAIL_ID and GUARDRAIL_VERSION go together")
        return self

    @property
    def memory_seconds(self) -> float:
        """The time limit of a lookup, in seconds."""
        return self.memory_milliseconds / 1000

    @property
    def cold_memory_seconds(self) -> float:
        """The time limit of a lookup whose connections may have to be opened, in seconds."""
        return max(self.memory_milliseconds, self.cold_memory_milliseconds) / 1000

    @property
    def documents_seconds(self) -> float:
        """The time limit of the search for documents, in seconds."""
        return self.documents_milliseconds / 1000

    @property
    def models(self) -> tuple[str, ...]:
        """The names and patterns of the models that requests may name."""
        return tuple(name.strip() for name in self.allowed_models.split(",") if name.strip())

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels for the classification of messages."""
        return tuple(label.strip() for label in self.classify_labels.split(","))

    @property
    def never_learn(self) -> tuple[re.Pattern[str], ...]:
        """The patterns of texts that are never stored as facts, without case."""
        return tuple(re.compile(pattern, re.IGNORECASE) for pattern in _patterns(self.never_learn_patterns))

    @property
    def origins(self) -> frozenset[str]:
        """The allowed origins of browsers."""
        return frozenset(origin.strip() for origin in self.allowed_origins.split(",") if origin.strip())

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The allowed signature algorithms of tokens."""
        return tuple(self.jwt_algorithms.split(","))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Reads the settings. Raises SettingsError, which names every variable that is missing or wrong."""
        values = {name: environ[name.upper()] for name in cls.model_fields if name.upper() in environ}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            reasons = [f"{'_'.join(map(str, e['loc'])).upper() or 'environment'}: {e['msg']}" for e in error.errors()]
            raise SettingsError("; ".join(reasons)) from None
