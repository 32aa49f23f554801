"""The steps that `start` and `preview` have in common: choice of the model, searches, prompt."""

import time

from converse_stream.auth import User
from converse_stream.container import Container
from converse_stream.flags.feature_flags import UserFlags
from converse_stream.generation.completion import Completion
from converse_stream.generation.plan import Plan
from converse_stream.http.bodies import ChatRequest
from converse_stream.memory.lookup import Memory
from converse_stream.memory.recall import PendingRecall, Recall
from converse_stream.prompts import builder
from converse_stream.prompts.builder import PromptBudget
from converse_stream.protocol.options import Options


def choose_model(app: Container, request: ChatRequest, flags: UserFlags) -> str:
    """The alias in the request, else the one in the user's flags, else the default model."""
    default = flags.responder if flags.responder in app.models.aliases else app.settings.default_model
    return request.model or default


def begin_recall(
    app: Container, user: User, question: str, deadline: float, flags: UserFlags
) -> tuple[PendingRecall, PendingRecall]:
    """Starts two searches: for facts, until `deadline`, and for documents, for `documents_seconds` of the settings.

    `deadline` is a time of the monotonic clock.
    """
    facts, documents = (app.recall, app.documents) if flags.memory else (Recall({}), Recall({}))
    documents_deadline = time.monotonic() + app.settings.documents_seconds
    return facts.begin(user.key, question, deadline), documents.begin(user.key, question, documents_deadline)


def build_completion(app: Container, memory: Memory, plan: Plan, model: str, options: Options) -> Completion:
    """Builds the prompt from the results of the lookups and searches."""
    budget = PromptBudget(app.models.window(model, options), app.settings.history_tokens)
    built = builder.build(memory, plan.history, plan.text, assistant=app.settings.assistant_name, budget=budget)
    return Completion(built, model, options, memory.sources)
