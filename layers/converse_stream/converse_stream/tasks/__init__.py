"""Small jobs on a small model, in one piece. Invoked directly, never over HTTP.

title, classify    asked for by whoever may invoke the function, and answered
learn              handed over after an answer (converse_stream.dispatch.learning); what it finds is stored
erase              handed over when a deletion takes longer than its caller waits
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from converse_stream.http.validation import refusal
from converse_stream.protocol.errors import NotFound, StorageError
from converse_stream.store.erasure import Erasure
from converse_stream.tasks import text_tasks
from converse_stream.tasks.events import ClassifyTask, EraseTask, LearnTask, TitleTask
from converse_stream.tasks.learn import learn
from converse_stream.tasks.task_model import TaskModel

if TYPE_CHECKING:
    from converse_stream.container import Container

_Task = TypeAdapter[TitleTask | ClassifyTask | LearnTask | EraseTask](
    Annotated[TitleTask | ClassifyTask | LearnTask | EraseTask, Field(discriminator="task")]
)


def run(event: Mapping[str, Any], app: "Container", seconds: float) -> dict[str, Any]:
    """What the task found, or did.

    `{"title": str}`, `{"label": str | None}` (None when the model chose none), `{"learned": [step, ...]}` or
    `{"erased": True}`. Raises BadRequest, which names the field, ModelError, ModelTimeout after `seconds`, and
    StorageError, also when an erasure is not done after `seconds`: then Lambda tries it again.
    """
    try:
        task = _Task.validate_python(dict(event))
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        # pydantic puts the chosen task before the field, and nothing where none was chosen.
        raise refusal([{**each, "loc": each["loc"][1:] or ("task",)} for each in wrong]) from None
    deadline = time.monotonic() + seconds
    ask = TaskModel(app.models, app.settings.task_model, deadline)
    match task:
        case TitleTask():
            return {"title": text_tasks.title(ask, task.text)}
        case ClassifyTask():
            return {"label": text_tasks.label(ask, task.text, task.labels)}
        case LearnTask():
            return {"learned": learn(task, app, ask)}
        case EraseTask():
            return {"erased": _erased(task, app.erasure, deadline)}


def _erased(task: EraseTask, erasure: Erasure, deadline: float) -> bool:
    if task.conversation is None:
        done = erasure.resume(task.user, deadline)
    else:
        try:
            done = erasure.delete_conversation(task.user, task.conversation, deadline)
        except NotFound:  # nothing is left of it
            return True
    if not done:
        raise StorageError
    return True
