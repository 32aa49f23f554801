"""Sends a response while the handler runs, so that what surrounds the handler surrounds the body too.

A decorator of a handler, such as one that measures it, ends when the handler returns. Without this module, the body is
read after that.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from .incompatible import check_callers
from .response import StreamingResponse

P = ParamSpec("P")
Sender = Callable[[StreamingResponse], StreamingResponse | None]

_sender: Sender | None = None


def set_sender(sender: Sender) -> None:
    """Sets the function that sends the response of the current invocation. The runtime calls it."""
    global _sender
    _sender = sender


def send_now(response: StreamingResponse) -> StreamingResponse | None:
    """Sends the response, and returns when its body has ended. The handler must return what it returns.

    Raises the exceptions of the body, after the client has been told. If the caller does not read streams, the body is
    read now and sent when the handler has returned. Outside the runtime, the response is returned unchanged.
    """
    return _sender(response) if _sender else response


def send_inside(handler: Callable[P, object]) -> Callable[P, object]:
    """Decorates a handler: its StreamingResponse is sent before the decorators above this one end.

    So put it directly on the handler, below all others. Raises TypeError, before the handler runs, below a decorator
    that needs the result of the handler.
    """

    @wraps(handler)
    def send(*args: P.args, **kwargs: P.kwargs) -> object:
        check_callers()
        response = handler(*args, **kwargs)
        return send_now(response) if isinstance(response, StreamingResponse) else response

    return send
