"""The steps that `start` and `preview` have in common: choice of the model, searches, prompt."""

import secrets
import time
from collections.abc import Sequence
from datetime import datetime

from converse_stream.auth import User
from converse_stream.container import Container
from converse_stream.flags.feature_flags import UserFlags
from converse_stream.generation.completion import Completion
from converse_stream.generation.plan import Plan
from converse_stream.http.bodies import ChatRequest
from converse_stream.memory.lookup import Memory
from converse_stream.memory.question import question_of
from converse_stream.memory.recall import PendingRecall, Recall
from converse_stream.prompts import builder
from converse_stream.prompts.builder import PromptBudget, RequestContext
from converse_stream.prompts.history import estimate_correction
from converse_stream.prompts.prompt import Prompt, ToolSpec
from converse_stream.protocol.errors import ModelUnpriced
from converse_stream.protocol.events import Progress
from converse_stream.protocol.options import Options


def choose_model(app: Container, user: User, request: ChatRequest, flags: UserFlags) -> str:
    """The model in the request, else the one in the user's flags, else the default model. Raises as `check_model`."""
    model = request.model or default_model(app, user, flags)
    check_model(app, user, model, request.options)
    return model


def default_model(app: Container, user: User, flags: UserFlags) -> str:
    """The model of a request that names none: that of the user's flags, if requests may name it."""
    name = flags.responder
    return name if name and app.models.allows(name) and is_priced(app, user, name) else app.settings.default_model


def is_priced(app: Container, user: User, name: str) -> bool:
    """Whether the price of the model is known, or no budget in dollars needs it."""
    return bool(app.models[name].price) or not app.usages_of(user).rules.limits_costs


def check_model(
    app: Container, user: User, name: str, options: Options, *, tools: Sequence[ToolSpec] = (), prefill: str = ""
) -> None:
    """Raises ModelNotAllowed, BadRequest if the model cannot answer with all of this, and ModelUnpriced.

    A model without a price is refused if there is a budget in dollars, unless the request has its own Bedrock key.
    """
    app.models.check(name, options, tools=tools, prefill=prefill)
    if not is_priced(app, user, name):
        raise ModelUnpriced(name)


def begin_recall(
    app: Container, user: User, plan: Plan, deadline: float, flags: UserFlags
) -> tuple[PendingRecall, PendingRecall]:
    """Starts two searches: for facts, until `deadline`, and for documents, for `documents_seconds` of the settings.

    `deadline` is a time of the monotonic clock. Nothing is searched for a greeting: then the facts are all that fit.
    """
    question = question_of(plan.user_message, plan.history)
    nothing = Recall({})
    facts = app.recall if flags.memory else nothing
    documents = app.documents if flags.memory and question.text else nothing
    documents_deadline = time.monotonic() + app.settings.documents_seconds
    return facts.begin(user.key, question, deadline), documents.begin(user.key, question, documents_deadline)


def request_context(app: Container, request: ChatRequest) -> RequestContext:
    """The number and the time for all prompts of this request, so that they do not differ."""
    offset = datetime.strptime(request.utc_offset or "+00:00", "%z").tzinfo
    return RequestContext(secrets.token_hex(4), datetime.fromtimestamp(app.generations.now() / 1000, offset))


def build_completion(
    app: Container, memory: Memory, plan: Plan, model: str, options: Options, context: RequestContext
) -> Completion:
    """Builds the prompt from the results of the lookups and searches."""
    correction = estimate_correction(memory.history, model)
    window, history_tokens = app.models.window(model, options), app.settings.history_tokens
    budget = PromptBudget(int(window / correction), int(history_tokens / correction))
    assistant = app.settings.assistant_name
    built = builder.build(memory, plan.history, plan.text, assistant=assistant, budget=budget, context=context)
    return Completion(built, model, options, memory.sources, correction=correction)


def history_progress(prompt: Prompt) -> list[Progress]:
    """The `progress` events that tell the user what the model does not get of the history."""
    events = []
    if prompt.omitted.messages:
        events.append(
            Progress("history", "earlier messages summarized")
            if prompt.omitted.summarized
            else Progress("history", "earlier messages left out", missing="earlier messages")
        )
    if prompt.omitted.shortened:
        events.append(Progress("history", "long messages shortened", missing="parts of long messages"))
    return events
