"""Background tasks: direct invocations of the function, not over HTTP.

title, classify    invoked by other services; the result is returned
learn              started after an answer (converse_stream.dispatch.learning); the result is stored
erase              started when a deletion takes longer than its request may take
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from converse_stream.http.validation import refusal
from converse_stream.protocol.errors import NotFound, StorageError
from converse_stream.store.erasure import Erasure
from converse_stream.tasks import labels, titles
from converse_stream.tasks.events import ClassifyTask, EraseTask, LearnTask, TitleTask
from converse_stream.tasks.learn import learn
from converse_stream.tasks.task_model import TaskModel

if TYPE_CHECKING:
    from converse_stream.container import Container

_Task = TypeAdapter[TitleTask | ClassifyTask | LearnTask | EraseTask](
    Annotated[TitleTask | ClassifyTask | LearnTask | EraseTask, Field(discriminator="task")]
)


def run(event: Mapping[str, Any], app: "Container", seconds: float) -> dict[str, Any]:
    """Runs the task and returns its result.

    The result is `{"title": str}` (empty if the model gave none), `{"label": str | None}` (None if it chose none),
    `{"learned": [step, ...]}` or `{"erased": True}`.

    Raises BadRequest with the wrong field, ModelError, ModelTimeout after `seconds`, and StorageError. If an erasure is
    not complete after `seconds`, StorageError is raised too, and Lambda retries the task.
    """
    try:
        task = _Task.validate_python(dict(event))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        # pydantic puts the name of the task before the field, and no field if the task is unknown.
        raise refusal([{**each, "loc": each["loc"][1:] or ("task",)} for each in errors]) from None
    deadline = time.monotonic() + seconds
    ask = TaskModel(app.models, app.settings.task_model, deadline)
    match task:
        case TitleTask():
            return {"title": titles.title(ask, task.text)}
        case ClassifyTask():
            return {"label": labels.label(ask, task.text, task.labels)}
        case LearnTask():
            return {"learned": learn(task, app, ask)}
        case EraseTask():
            return {"erased": _erase(task, app.erasure, deadline)}


def _erase(task: EraseTask, erasure: Erasure, deadline: float) -> bool:
    if task.conversation is None:
        complete = erasure.resume(task.user, deadline)
    else:
        try:
            complete = erasure.delete_conversation(task.user, task.conversation, deadline)
        except NotFound:  # it is already deleted
            return True
    if not complete:
        raise StorageError
    return True
