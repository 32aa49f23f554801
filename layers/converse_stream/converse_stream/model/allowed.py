"""The models that callers may use, by the setting AllowedModels. Pure."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from converse_stream.model.catalog import Catalog


class AllowedModels:
    """Models by name: aliases, ids, ARNs, and patterns with `*`. The default model is always allowed.

    Without names, the default model and its fallbacks are allowed. A pattern matches the id in requests to Bedrock. It
    also matches the id without the prefix of an inference profile, if the deployment would use that profile.
    """

    def __init__(self, catalog: Catalog, names: Iterable[str], default: str) -> None:
        self._catalog = catalog
        names = list(names)
        if not names and default in catalog:
            names = list(catalog[default].fallbacks)
        self._names = [default, *(name for name in names if "*" not in name)]
        self._patterns = [name for name in names if "*" in name]
        self._ids = {model.id for name in self._names if (model := catalog.get(name))}

    def __contains__(self, name: str) -> bool:
        """Whether callers may use the model, and it can be called."""
        model = self._catalog.get(name)
        if model is None:
            return False
        if model.id in self._ids:
            return True
        own = self._catalog.get(model.base_id)
        ids = {model.id, model.base_id} if own and own.id == model.id else {model.id}
        return any(fnmatchcase(each, pattern) for each in ids for pattern in self._patterns)

    def names(self, name: str) -> bool:
        """Whether the setting has the model by this name, also if it cannot be called."""
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        """The names to list, sorted: those of the setting, and those of the catalog that match a pattern."""
        listed = {name for name in self._names if name in self._catalog}
        if self._patterns:
            listed |= {name for name in self._catalog if name in self}
        return iter(sorted(listed))
