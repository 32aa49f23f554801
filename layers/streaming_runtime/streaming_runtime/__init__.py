"""Response streaming for Lambda functions in Python: a handler returns a `StreamingResponse`.

All other responses are handled as without this package.
"""

from .error_response import error_response
from .handler import send_inside, send_now
from .response import StreamingResponse

__all__ = ["StreamingResponse", "error_response", "send_inside", "send_now"]
