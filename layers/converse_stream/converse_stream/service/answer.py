"""The generation of a completion: the model's call, what it is expected to cost, and its limits."""

from collections.abc import Sequence

from aws_lambda_powertools.utilities.typing import LambdaContext

from converse_stream.auth import User
from converse_stream.container import Container
from converse_stream.generation.completion import Completion
from converse_stream.generation.generation import Generation, GenerationLimits, ModelEvents
from converse_stream.generation.search import Search
from converse_stream.limits import Budget
from converse_stream.memory.citations import cited
from converse_stream.model.transport import Call
from converse_stream.protocol.events import Event, Message, Start, Usage
from converse_stream.protocol.log import Entry
from converse_stream.protocol.tokens import estimate_tokens
from converse_stream.store.generation_record import Estimate
from converse_stream.store.generation_writer import GenerationWriter


def answer(
    app: Container,
    start: Start,
    message: Message,
    asked: Completion,
    user: User,
    writer: GenerationWriter,
    left: Budget,
    deadline: float,
    context: LambdaContext,
    *,
    before: Sequence[Event] = (),
    prefix: Sequence[Entry] = (),
    search: Search | None = None,
) -> Generation:
    """A generation that is not yet running. `before` are events to send first, `prefix` is the log so far."""
    model, called = app.models[asked.model], False

    def call_model(call: Call) -> ModelEvents:
        nonlocal asked, called
        call.bedrock_key = user.bedrock_key
        if search is not None:
            asked = yield from search.wait(call)
        called = True
        events = app.models.answer(asked.prompt, asked.model, asked.options, call, stream=asked.stream)
        yield from cited(events, asked.sources, before=prefix)

    def estimate(text: str, alias: str) -> Usage:
        usage = Usage(asked.tokens if called else 0, estimate_tokens(text), basis="estimated")
        return usage if user.bedrock_key else app.models[alias].priced(usage, asked.options)

    reserve = app.settings.documents_tokens if search is not None else 0
    affordable = model.affordable(left, asked.tokens + reserve, asked.options)
    if search is not None and affordable <= 0:  # nothing will wait for it
        search.stop()
    limits = GenerationLimits(deadline, app.settings.model_idle_seconds, app.settings.max_answer_bytes, affordable)
    return Generation(
        start, message, call_model, writer, estimate, limits, context.aws_request_id, preamble=before, prefix=prefix
    )


def estimate_of(app: Container, user: User, asked: Completion) -> Estimate:
    """The costs that a record states, for whichever function ends the generation when its owner is dead."""
    if user.bedrock_key:
        return Estimate(asked.tokens)
    model = app.models[asked.model]
    read = model.priced(Usage(asked.tokens), asked.options)
    million = model.priced(Usage(output_tokens=1_000_000), asked.options)
    return Estimate(asked.tokens, read.cost, million.cost or 0)
