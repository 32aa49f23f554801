"""The use cases of the routes. The first argument of each is the container."""

from converse_stream.service.complete import complete
from converse_stream.service.generations import cancel, cancel_and_wait, follow, latest, running
from converse_stream.service.models import models
from converse_stream.service.preview import preview
from converse_stream.service.start import start

__all__ = ["cancel", "cancel_and_wait", "complete", "follow", "latest", "models", "preview", "running", "start"]
