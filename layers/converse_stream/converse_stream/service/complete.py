"""Complete: answers a prompt with its whole history, which the caller stores."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from aws_lambda_powertools.utilities.typing import LambdaContext

from converse_stream.auth import User
from converse_stream.container import Container
from converse_stream.generation.completion import Completion
from converse_stream.generation.generation import Generation
from converse_stream.limits import budget_exhausted, make_slot
from converse_stream.protocol.errors import BadRequest
from converse_stream.protocol.events import Message, Start
from converse_stream.protocol.ids import new_id, now
from converse_stream.service.answer import answer
from converse_stream.service.prompts import check_model
from converse_stream.store.usage_writer import UsageWriter


def complete(app: Container, user: User, completion: Completion, context: LambdaContext) -> Generation:
    """Returns the generation for a completion, not yet running. Only its usage is stored.

    Raises the errors of `check_model` and of `Rules.check`.
    """
    prompt = completion.prompt
    check_model(app, user, completion.model, completion.options, tools=prompt.tools, prefill=prompt.prefill)
    seconds = context.get_remaining_time_in_millis() / 1000
    deadline = time.monotonic() + seconds - app.settings.deadline_margin_seconds
    start = Start("", new_id(), new_id(), completion.model)
    slot = make_slot(app.generations.now() + int(seconds * 1000), start.generation_id)
    usages = app.usages_of(user)
    with ThreadPoolExecutor(1, "flags") as pool:
        pending_flags = pool.submit(app.flags.for_user, user.key)
        used = usages.read(user.key, user.address)
    flags, budget = pending_flags.result(), usages.rules.remaining(used)
    if completion.prompt.tools and not flags.tools:
        raise BadRequest("Tools are disabled.", field="tools")
    if app.models[completion.model].affordable(budget, completion.tokens, completion.options) <= 0:
        raise budget_exhausted("user", app.generations.now())
    usages.admit(user.key, user.address, slot, used)
    user_message = Message(id=new_id(), role="user", parts=(), created_at=now(), generation_id=start.generation_id)
    writer = UsageWriter(app.table, user.key, slot)
    completion = replace(completion, stream=flags.streaming)
    return answer(app, start, user_message, completion, user, writer, budget, deadline, context)
