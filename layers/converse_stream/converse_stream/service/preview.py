"""Preview: the prompt that a request would send to the model."""

from dataclasses import replace

from converse_stream.auth import User
from converse_stream.container import Container
from converse_stream.generation.completion import Preview
from converse_stream.generation.plan import make_plan
from converse_stream.http.bodies import ChatRequest
from converse_stream.protocol.errors import NotFound
from converse_stream.protocol.ids import new_id
from converse_stream.service.prompts import (
    begin_recall,
    build_completion,
    choose_model,
    history_progress,
    request_context,
)
from converse_stream.store.generation_record import conversation_id as derived_conversation


def preview(app: Container, user: User, request: ChatRequest) -> Preview:
    """Returns the prompt that the model would get for this request. Stores nothing and calls no model.

    The text of a running generation is not part of the prompt. Raises the errors of `start` for a request that is
    invalid or over a limit.
    """
    gid, flags, usages = new_id(), app.flags.for_user(user.key), app.usages_of(user)
    model = choose_model(app, user, request, flags)
    deadline = app.lookup_deadline()
    memory = app.lookup(user.key, request.conversation_id or derived_conversation(gid), gid, deadline)
    if memory.conversation and memory.conversation.deleted:
        raise NotFound
    plan = make_plan(request, memory, gid, app.settings.max_continued_bytes)
    usages.admit(user.key, user.address, None, usages.read(user.key, user.address))
    facts, documents = begin_recall(app, user, plan, deadline, flags)
    with facts, documents:
        memory = documents.merged_into(facts.merged_into(memory))
    completion = build_completion(app, memory, plan, model, request.options, request_context(app, request))
    omitted = (event.missing for event in history_progress(completion.prompt) if event.missing)
    return Preview(replace(completion, stream=flags.streaming), (*memory.missing, *omitted))
