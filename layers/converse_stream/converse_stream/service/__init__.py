"""The use cases behind the routes. Each takes the container first and reads as its steps."""

from converse_stream.service.complete import complete
from converse_stream.service.generations import cancel, cancel_and_wait, follow, latest, running
from converse_stream.service.preview import preview
from converse_stream.service.start import start

__all__ = ["cancel", "cancel_and_wait", "complete", "follow", "latest", "preview", "running", "start"]
