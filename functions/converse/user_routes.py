"""The user's own data: facts, the profile, and the erasure of everything."""

from typing import Any

from aws_lambda_powertools.event_handler import Response

from api import Api, Id, deletion, reply
from converse_stream.http.bodies import NewFact, NewProfile, ProfileChange
from converse_stream.http.validation import check_text
from converse_stream.store.facts import Fact, Profile


def add_routes(api: Api) -> None:
    """Adds the routes to the resolver."""
    app, resolver = api.app, api.resolver

    @resolver.get("/memory")
    def facts() -> Response[str]:
        """Returns the facts that are stored about the user."""
        return reply({"facts": [_fact(fact) for fact in app.facts.all(api.user.key)]})

    @resolver.post("/memory")
    def add_fact(body: NewFact) -> Response[str]:
        """Stores a fact."""
        text = check_text(body.text, app.settings.max_fact_chars, "text")
        fact = app.facts.add(api.user.key, text, body.kind, limit=app.settings.max_facts)
        return reply(_fact(fact), 201)

    @resolver.delete("/memory/<fact>")
    def delete_fact(fact: Id) -> Response[str]:
        """Deletes a fact."""
        app.facts.delete(api.user.key, fact)
        return Response(204, body="")

    @resolver.get("/profile")
    def profile() -> Response[str]:
        """Returns the user's name, the assistant's name, and whether the assistant learns from messages."""
        return reply(_profile(app.facts.profile(api.user.key)))

    @resolver.put("/profile")
    def replace_profile(body: NewProfile) -> Response[str]:
        """Replaces the profile; `learning` keeps its value when it is not given."""
        fields = body.name, body.assistant_name, body.about
        return reply(_profile(app.facts.set_profile(api.user.key, *fields, learning=body.learning)))

    @resolver.patch("/profile")
    def change_profile(body: ProfileChange) -> Response[str]:
        """Changes the fields that are given; null deletes a text."""
        return reply(_profile(app.facts.change_profile(api.user.key, **body.model_dump(exclude_unset=True))))

    @resolver.delete("/me")
    def erase() -> Response[str]:
        """Erases the user's conversations, facts and profile. After a 202, call again to learn when it is done."""
        return deletion(api, None)


def _fact(fact: Fact) -> dict[str, Any]:
    learned = {"confidence": fact.confidence, "message": fact.message}
    return {
        "id": fact.id,
        "text": fact.text,
        "kind": fact.kind,
        "source": fact.source,
        "createdAt": fact.created_at,
        **{name: value for name, value in learned.items() if value is not None},
    }


def _profile(profile: Profile) -> dict[str, Any]:
    fields = {"name": profile.name, "assistantName": profile.assistant_name, "about": profile.about}
    return {name: value for name, value in fields.items() if value is not None} | {"learning": profile.learning}
