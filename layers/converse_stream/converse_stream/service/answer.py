"""Makes the generation of a completion: the model call, its estimated usage, and its limits."""

from collections.abc import Sequence

from aws_lambda_powertools.utilities.typing import LambdaContext

from converse_stream.auth import User
from converse_stream.container import Container
from converse_stream.generation.completion import Completion
from converse_stream.generation.generation import Generation, GenerationLimits, ModelEvents
from converse_stream.generation.search import Search
from converse_stream.limits import Budget
from converse_stream.memory.citations import extract_citations
from converse_stream.model.transport import Call
from converse_stream.protocol.events import Event, Message, Start, Usage
from converse_stream.protocol.log import Entry
from converse_stream.protocol.tokens import estimate_tokens
from converse_stream.store.generation_record import Estimate
from converse_stream.store.generation_writer import GenerationWriter


def answer(
    app: Container,
    start: Start,
    user_message: Message,
    completion: Completion,
    user: User,
    writer: GenerationWriter,
    budget: Budget,
    deadline: float,
    context: LambdaContext,
    *,
    preamble: Sequence[Event] = (),
    prefix: Sequence[Entry] = (),
    search: Search | None = None,
) -> Generation:
    """Returns a generation that is not running yet.

    `budget` is what this answer may use, and `deadline` a time of the monotonic clock. `preamble` has the events to
    send before the model's, and `prefix` the stored log that is continued. `search` may replace the completion.
    """
    model, is_called = app.models[completion.model], False

    def call_model(call: Call) -> ModelEvents:
        nonlocal completion, is_called
        call.bedrock_key = user.bedrock_key
        if search is not None:
            completion = yield from search.wait(call)
        is_called = True
        events = app.models.answer(
            completion.prompt, completion.model, completion.options, call, stream=completion.stream
        )
        yield from extract_citations(events, completion.sources, before=prefix)

    def estimate_usage(text: str, name: str) -> Usage:
        usage = Usage(completion.tokens if is_called else 0, estimate_tokens(text), basis="estimated")
        return usage if user.bedrock_key else app.models[name].priced(usage, completion.options)

    reserve = app.settings.documents_tokens if search is not None else 0
    max_tokens = model.affordable(budget, completion.tokens + reserve, completion.options)
    if search is not None and max_tokens <= 0:  # the generation ends without a model call
        search.cancel()
    limits = GenerationLimits(deadline, app.settings.model_idle_seconds, app.settings.max_answer_bytes, max_tokens)
    return Generation(
        start,
        user_message,
        call_model,
        writer,
        estimate_usage,
        limits,
        context.aws_request_id,
        sent_prompt=lambda: completion.sent if is_called else None,
        preamble=preamble,
        prefix=prefix,
    )


def estimate_costs(app: Container, user: User, completion: Completion) -> Estimate:
    """The estimate for the record. If the owner dies, another function charges the lost answer by it."""
    if user.bedrock_key:
        return Estimate(completion.tokens)
    model = app.models[completion.model]
    input_usage = model.priced(Usage(completion.tokens), completion.options)
    with_output = model.priced(Usage(completion.tokens, output_tokens=1_000_000), completion.options)
    return Estimate(completion.tokens, input_usage.cost, (with_output.cost or 0) - (input_usage.cost or 0))
