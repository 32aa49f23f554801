"""CloudFront as far as the laptop needs it: one host that hands each request to the door its path belongs to."""

import dataclasses
from collections.abc import Mapping

from local_stack.distribution import Distribution
from local_stack.http import Handler, Request, Responder

VIEWER_ADDRESS = "x-viewer-address"  # set by the distribution's function, which does not run here


class CloudFront:
    """Serves a distribution. `origins` has a handler for each of its origins; nothing is cached or compressed."""

    def __init__(self, distribution: Distribution, origins: Mapping[str, Handler]) -> None:
        self._distribution = distribution
        self._origins = origins

    async def __call__(self, request: Request, responder: Responder) -> None:
        behavior = self._distribution.behavior(request.path)
        responder.override(behavior.headers)
        if request.method not in behavior.methods:
            await responder.send(403, [("content-type", "text/plain")], b"This method is not allowed here.\n")
            return
        added = dict([(VIEWER_ADDRESS, request.client), *self._distribution.origins[behavior.origin]])
        kept = [pair for pair in request.headers if pair[0] not in added]  # a viewer cannot set them
        forwarded = dataclasses.replace(request, headers=[*kept, *added.items()])
        await self._origins[behavior.origin](forwarded, responder)
