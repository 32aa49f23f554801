"""Both functions in this process, with a table in memory and a model that answers one word immediately.

An invocation takes and returns bytes, through the marshaller of the streaming runtime. The model is called through
unmodified boto3, so requests that Bedrock would reject are rejected.
"""

import importlib.util
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Literal, TypeAlias

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller

from converse_stream.aws import clients
from local_stack.bedrock import events
from local_stack.template import ACCOUNT, REGION
from streaming_runtime.invocation import Invocation
from streaming_runtime.marshaller import StreamingMarshaller
from streaming_runtime.settings import Settings
from tests.property.fake_table import FakeDynamo, Item, Key, NoFaults, TableHooks
from tests.stack import ROOT
from tests.wire.bedrock_standin import standin

Name: TypeAlias = Literal["stream", "converse"]
ENVIRONMENT = {
    "TABLE_NAME": "table",
    "AUTH_MODE": "dev",
    "URL_AUTH_TYPE": "NONE",
    "USER_REQUESTS_PER_MINUTE": "6000",
    "USER_BURST": "100000",
    "ADDRESS_REQUESTS_PER_MINUTE": "60000",
    "ADDRESS_BURST": "1000000",
    "USER_DAY_TOKENS": "0",
    "USER_DAY_USD": "0",
    "DAY_USD": "0",
}


class Context(LambdaContext):
    """The context of an invocation, by default with 60 s of remaining time."""

    _aws_request_id = "request"
    _function_name = "function"
    _memory_limit_in_mb = 512

    def __init__(self, account: str = ACCOUNT, seconds: int = 60) -> None:
        self._invoked_function_arn = f"arn:aws:lambda:{REGION}:{account}:function:function"
        self._milliseconds = seconds * 1_000

    def get_remaining_time_in_millis(self) -> int:  # type: ignore[override]  # Powertools' is static
        return self._milliseconds


class OneWordModel:
    """A `Model` that answers one word immediately."""

    async def converse(self, model_id: str, body: events.Json) -> AsyncGenerator[events.Event, None]:
        yield events.MESSAGE_START
        yield events.delta(0, {"text": "Yes."})
        yield events.block_stop(0)
        yield events.message_stop("end_turn")
        yield events.metadata({"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, 1)


class Functions:
    """Both functions and the table that they share."""

    def __init__(self, dynamo: FakeDynamo, modules: dict[Name, ModuleType]) -> None:
        self.modules = modules
        self.dynamo = dynamo
        self._initial: dict[Key, Item] = {}

    def invoke(self, name: Name, payload: bytes, context: Context | None = None) -> Any:
        """Invokes the function with an event; returns its result, parsed from JSON, or raises its exception."""
        marshaller = StreamingMarshaller(LambdaMarshaller(), Invocation(""), Settings(streaming=frozenset()))
        event = marshaller.unmarshal_request(payload)
        result, _ = marshaller.marshal_response(self.modules[name].handler(event, context or Context()))
        return json.loads(result if isinstance(result, bytes) else str(result))

    @property
    def stored(self) -> dict[Key, Item]:
        """The items of the table, without the counters of the limits."""
        return {key: item for key, item in self.dynamo.items.items() if "#R" not in key[0] and key[0][:2] != "R#"}

    def keep(self) -> None:
        """Makes the present items the state to which `reset` returns."""
        self._initial = dict(self.dynamo.items)

    def reset(self) -> None:
        """Restores the items of the last `keep`."""
        self.dynamo.items = dict(self._initial)


@contextmanager
def functions(model: events.Model | None = None, hooks: TableHooks | None = None) -> Iterator[Functions]:
    """Both functions, with a model and a table with these hooks; by default one word and no faults."""
    dynamo = FakeDynamo(hooks or NoFaults())
    with standin(model=model or OneWordModel()) as bedrock, pytest.MonkeyPatch.context() as patch:
        for variable, value in ENVIRONMENT.items():
            patch.setenv(variable, value)

        real = clients.client
        patch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", bedrock.url)

        def client(service: str, **limits: Any) -> Any:
            return dynamo if service == "dynamodb" else real(service, **limits)

        patch.setattr(clients, "client", client)
        yield Functions(dynamo, {"stream": _load("stream"), "converse": _load("converse")})


def _load(name: Name) -> ModuleType:
    path = ROOT / "functions" / name / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_app", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
