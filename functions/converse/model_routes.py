"""Models: those that requests may name."""

from aws_lambda_powertools.event_handler import Response

from api import Api, reply
from converse_stream import service


def add_routes(api: Api) -> None:
    """Adds the routes to the resolver."""
    app, resolver = api.app, api.resolver

    @resolver.get("/models")
    def models() -> Response[str]:
        """Returns the models that requests may name, with what they accept and cost."""
        return reply(service.models(app, api.user))
