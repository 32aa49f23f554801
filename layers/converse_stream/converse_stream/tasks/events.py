"""The events of direct invocations: one model for each task."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from converse_stream.http.request import ID
from converse_stream.protocol.fields import Body, NonBlankText


class TitleTask(Body):
    """Direct invocation: writes a title for a conversation that begins with `text`."""

    task: Literal["title"]
    text: NonBlankText


class ClassifyTask(Body):
    """Direct invocation: chooses the one of `labels` that fits `text` best."""

    task: Literal["classify"]
    text: NonBlankText
    labels: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=50)]], Field(min_length=2, max_length=20)
    ]


class LearnTask(Body):
    """Started after an answer: learns from the exchange of `generation`. `user` is a `User.key`."""

    task: Literal["learn"]
    user: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    generation: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]


class EraseTask(Body):
    """Started when a deletion takes too long: continues it, for one conversation or all data of the user."""

    task: Literal["erase"]
    user: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    conversation: Annotated[str, StringConstraints(pattern=ID)] | None = None
