"""Lets a Python Lambda stream its answer: a handler returns a `StreamingResponse`, everything else stays as it was."""

from .response import StreamingResponse

__all__ = ["StreamingResponse"]
