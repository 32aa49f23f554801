"""Compares the model catalog with the models that Bedrock lists in a region. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from converse_stream.model.capabilities import Model
from converse_stream.model.catalog import Catalog
from converse_stream.model.identifiers import profiles_of


@dataclass(frozen=True)
class ListedModel:
    """A foundation model as Bedrock describes it.

    `inputs` are lower-case modalities: text, image and others. `on_demand` is true if the model is called by its id.
    `end` is the end of life of a legacy model, if Bedrock says it.
    """

    id: str
    inputs: frozenset[str]
    streaming: bool
    on_demand: bool
    legacy: bool = False
    legacy_since: date | None = None
    end: date | None = None


@dataclass(frozen=True)
class Listed:
    """What Bedrock lists in a region: models that answer with text, by id, and the ids of system inference profiles."""

    region: str
    models: Mapping[str, ListedModel]
    profiles: frozenset[str]


def differences(listed: Listed, families: Iterable[str]) -> list[str]:
    """One line for each difference between the catalog and the list, sorted; empty if nothing differs.

    A model counts as new if its id has the start of one of the `families`, and Bedrock does not call it legacy. Models
    and profiles of the catalog that this region cannot have are not differences.
    """
    wide, auto = Catalog("global", listed.region), Catalog("auto", listed.region)
    models = {model.base_id: model for model in map(wide.entry, wide.names)}
    lines = [line for model in models.values() for line in _of_model(model, wide, auto, listed)]
    new = [each.id for each in listed.models.values() if each.id not in models and not each.legacy]
    lines += [f"new: {model_id}" for model_id in new if model_id.startswith(tuple(families))]
    return sorted(lines)


def _of_model(model: Model, wide: Catalog, auto: Catalog, listed: Listed) -> Iterator[str]:
    here = listed.models.get(model.base_id)
    if here is None:
        if model.name in wide:
            yield f"gone: {model.name} ({model.base_id}) is not in {listed.region}"
        return
    yield from _lifecycle(model, here)
    yield from _profiles(model, here, auto, listed)
    if model.streaming and not here.streaming:
        yield f"streaming: {model.name} does not stream"  # not to stream, though it can, is a decision of the catalog
    for kind in ("image", "video"):
        if kind in here.inputs and kind not in model.inputs:
            yield f"inputs: {model.name} accepts {kind}, the catalog lacks it"
    if "image" in model.inputs and "image" not in here.inputs:
        yield f"inputs: {model.name} accepts no image, the catalog has it"


def _lifecycle(model: Model, here: ListedModel) -> Iterator[str]:
    if here.legacy and model.lifecycle == "active":
        since = f" since {here.legacy_since}" if here.legacy_since else ""
        end = f", ends {here.end}" if here.end else ""
        yield f"going: {model.name} ({model.base_id}) is legacy{since}{end}"
    if not here.legacy and model.lifecycle == "legacy":
        yield f"lifecycle: {model.name} is active, the catalog says legacy"


def _profiles(model: Model, here: ListedModel, auto: Catalog, listed: Listed) -> Iterator[str]:
    suffix = f".{model.base_id}"
    found = {profile.removesuffix(suffix) for profile in listed.profiles if profile.endswith(suffix)}
    possible = {*profiles_of("global", listed.region)} - {"none"}
    for profile in found - model.profiles.keys():
        yield f"profile: the catalog lacks {profile} of {model.name}"
    for profile in (model.profiles.keys() & possible) - found:
        yield f"profile: {profile}{suffix} of {model.name} is not in {listed.region}"
    called = auto.get(model.name)
    if here.on_demand and "none" not in model.profiles:
        yield f"profile: {model.name} can be called without a profile, the catalog lacks none"
    if called and called.id == model.base_id and not here.on_demand:
        yield f"profile: {model.name} cannot be called without a profile in {listed.region}"
