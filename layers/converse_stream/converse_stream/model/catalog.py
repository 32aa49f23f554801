"""The model catalog: finds the capabilities of a model by its name, from catalog.json and the deployment's overrides.

A name is an alias, a name in the catalog, Bedrock's id of a model or of an inference profile, or an ARN. The build
checks catalog.json with `model.overrides.Entry`; here it is plain data, converted when a model is first used.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from converse_stream.model.capabilities import Cache, Model, Price, Thinking
from converse_stream.model.identifiers import is_arn, model_of_arn, profiles_of, split_profile

MAX_FOUND = 256  # names that are kept with their models: callers choose them

Fields = Mapping[str, Any]  # of a model, as in catalog.json

# A newer model of a family has the capabilities of the newest known one, but not its name and price.
_NOT_INHERITED = frozenset({"title", "id", "price", "lifecycle"})


class Catalog:
    """The models that can be called from `region` with this setting of InferenceProfile.

    `overrides` has fields by the name of a model. They replace those of catalog.json.
    """

    def __init__(self, setting: str, region: str = "", overrides: Mapping[str, Fields] | None = None) -> None:
        raw = json.loads(Path(__file__).with_name("catalog.json").read_bytes())
        self._aliases: dict[str, str] = raw["aliases"]
        self._families: dict[str, str | None] = raw["families"]  # names in the catalog, by the start of a model id
        self._entries: dict[str, Fields] = raw["models"]
        self._names: dict[str, str] = {entry["id"]: name for name, entry in self._entries.items()}
        self._profiles = profiles_of(setting, region)
        self._overrides: dict[str, Fields] = {}
        for name, fields in (overrides or {}).items():
            key = self._split(name)[1]
            self._overrides[key] = {**self._overrides.get(key, {}), **fields}
        self._found: dict[str, Model | None] = {}

    def __iter__(self) -> Iterator[str]:
        """The aliases, and the names in the catalog that have no alias."""
        targets = set(self._aliases.values())
        yield from self._aliases
        yield from (name for name in self._entries if name not in targets)

    @property
    def names(self) -> Iterable[str]:
        """The names in the catalog."""
        return self._entries

    @property
    def aliases(self) -> Mapping[str, str]:
        """The names in the catalog, by alias."""
        return self._aliases

    def entry(self, name: str) -> Model:
        """A model of the catalog without an inference profile, also if it cannot be called from this region."""
        return self._model(self._split(name)[1])

    def __contains__(self, name: str) -> bool:
        """Whether the model can be called."""
        return self.get(name) is not None

    def __getitem__(self, name: str) -> Model:
        """The model. Raises KeyError if it cannot be called."""
        model = self.get(name)
        if model is None:
            raise KeyError(name)
        return model

    def get(self, name: str) -> Model | None:
        """The model; None if the name is no model, or the region has no inference profile for it."""
        if name not in self._found:
            if len(self._found) >= MAX_FOUND:
                self._found.clear()
            self._found[name] = self._find(name)
        return self._found[name]

    def is_known(self, name: str) -> bool:
        """Whether the catalog has the model, also if it cannot be called from this region."""
        return self._split(name)[1] in self._entries

    def unavailable_reason(self, name: str) -> str | None:
        """Why a model of the catalog cannot be called from this region, and what to do.

        None if it can be called, or is not in the catalog.
        """
        if not self.is_known(name) or name in self:
            return None
        reason = f"{name} cannot be called from this region: it has no inference profile that this deployment may use."
        has_global = "global" in self._model(self._split(name)[1]).profiles
        return f"{reason} Deploy with InferenceProfile=global to use it." if has_global else reason

    def check_overrides(self) -> None:
        """Raises ValueError, with the name of the model, if an override is for no model or names an unknown one."""
        for key, fields in self._overrides.items():
            if not self._is_model(key):
                raise ValueError(f"{key}: it is no model")
            if "like" in fields and not self.is_known(fields["like"]):
                raise ValueError(f"{key}.like: {fields['like']} is not in the catalog")
            for name in fields.get("fallbacks", ()):
                if not self._is_model(self._split(name)[1]):
                    raise ValueError(f"{key}.fallbacks: {name} is no model")

    def _find(self, name: str) -> Model | None:
        profile, key = self._split(name)
        if not self._is_model(key):
            return None
        model = self._model(key)
        if is_arn(name):
            return replace(model.with_profile(profile or "none"), id=name)
        chosen = profile or next((each for each in self._profiles if each in model.profiles), None)
        return model.with_profile(chosen) if chosen else None

    def _is_model(self, key: str) -> bool:
        return key in self._entries or is_arn(key) or ("." in key and not split_profile(key)[0])

    def _split(self, name: str) -> tuple[str, str]:
        """The prefix of the inference profile in the name, and the key of the model.

        The key is the name in the catalog; for other models their id without the prefix, or their ARN.
        """
        if name in self._entries or name in self._aliases:
            return "", self._aliases.get(name, name)
        profile, model = split_profile((model_of_arn(name) or name) if is_arn(name) else name)
        return profile, self._names.get(model, model)

    def _model(self, key: str) -> Model:
        override = self._overrides.get(key, {})
        if key in self._entries:
            fields = self._entries[key]
        else:
            family = next((name for start, name in self._families.items() if key.startswith(start)), None)
            inherited = self._merged(self._entries[family]) if family and "like" not in override else {}
            fields = {name: value for name, value in inherited.items() if name not in _NOT_INHERITED} | {"id": key}
        return _parse(key, self._merged({**fields, **override}))

    def _merged(self, fields: Fields) -> dict[str, Any]:
        """The fields, with those of the model that they are `like`."""
        fields = dict(fields)
        like = fields.pop("like", None)
        return {**self._merged(self._entries[self._split(like)[1]]), **fields} if like else fields


def _parse(name: str, fields: Mapping[str, Any]) -> Model:
    """The model from its fields in camelCase."""
    values = _snake_case(fields)
    base_id = values.pop("id")
    if thinking := values.get("thinking"):
        values["thinking"] = Thinking(**_tuples(_snake_case(thinking)))
    if (cache := values.get("cache")) is not None:
        values["cache"] = Cache(**_tuples(_snake_case(cache)))
    values["price"] = [Price(**_snake_case(price)) for price in values.get("price", ())]
    return Model(name=name, id=base_id, base_id=base_id, **_tuples(values))


def _snake_case(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"".join(f"_{char.lower()}" if char.isupper() else char for char in name): fields[name] for name in fields}


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
