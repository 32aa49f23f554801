"""Steps that a start and a preview share: the model's alias, the searches and the prompt."""

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


def model_of(app: Container, request: ChatRequest, flags: UserFlags) -> str:
    """The alias that the request names, else the one of the user's flags, else the default."""
    responder = flags.responder if flags.responder in app.models.aliases else app.settings.default_model
    return request.model or responder


def begin_recall(
    app: Container, user: User, question: str, deadline: float, flags: UserFlags
) -> tuple[PendingRecall, PendingRecall]:
    """Starts the search for facts, until `deadline`, and the search for documents, which has a budget of its own."""
    facts, documents = (app.recall, app.documents) if flags.memory else (Recall({}), Recall({}))
    until = time.monotonic() + app.settings.documents_seconds
    return facts.begin(user.key, question, deadline), documents.begin(user.key, question, until)


def completion_of(app: Container, memory: Memory, plan: Plan, model: str, options: Options) -> Completion:
    """The prompt for the model, built from what the lookups and searches found."""
    budget = PromptBudget(app.models.window(model, options), app.settings.history_tokens)
    built = builder.build(memory, plan.history, plan.text, assistant=app.settings.assistant_name, budget=budget)
    return Completion(built, model, options, memory.sources)
