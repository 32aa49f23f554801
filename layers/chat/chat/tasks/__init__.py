"""Small jobs on a small model, in one piece. Invoked directly, never over HTTP.

title, classify    asked for by whoever may invoke the function, and answered
learn              handed over after an answer (chat.learning); what it finds is stored
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from chat.requests import ClassifyTask, LearnTask, TitleTask, refusal
from chat.tasks import wording
from chat.tasks.asker import Asker
from chat.tasks.lesson import learn

if TYPE_CHECKING:
    from chat.application import Application

_Task = TypeAdapter[TitleTask | ClassifyTask | LearnTask](
    Annotated[TitleTask | ClassifyTask | LearnTask, Field(discriminator="task")]
)


def run(event: Mapping[str, Any], app: "Application", seconds: float) -> dict[str, Any]:
    """`{"title": str}`, `{"label": str | None}` (None when the model chose none) or `{"learned": [step, ...]}`.

    Raises BadRequest, which names the field, ModelError, ModelTimeout after `seconds`, and StorageError.
    """
    try:
        task = _Task.validate_python(dict(event))
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        # pydantic puts the chosen task before the field, and nothing where none was chosen.
        raise refusal([{**each, "loc": each["loc"][1:] or ("task",)} for each in wrong]) from None
    ask = Asker(app.models, app.settings.task_model, time.monotonic() + seconds)
    match task:
        case TitleTask():
            return {"title": wording.title(ask, task.text)}
        case ClassifyTask():
            return {"label": wording.label(ask, task.text, task.labels)}
        case LearnTask():
            return {"learned": learn(task, app, ask)}
