"""The routes of both functions, as their code declares them, with `{}` for a name in the path."""

import re

from tests.stack import ROOT

PUBLIC = frozenset({"GET /health", "GET /openapi.json"})  # need no token


def stream_routes() -> set[str]:
    """The routes of the stream function: `POST /chat/{}/cancel`."""
    return set(re.findall(r'"((?:GET|POST) /[^"]*)"', _source("stream")))


def converse_routes() -> set[str]:
    """The routes of the converse function, behind API Gateway."""
    found = re.findall(r'@resolver\.(get|post|put|patch|delete)\("([^"]+)"\)', _source("converse"))
    return {f"{method.upper()} {re.sub(r'<[a-z_]+>', '{}', path)}" for method, path in found}


def _source(function: str) -> str:
    modules = sorted((ROOT / "functions" / function).glob("*.py"))
    return "\n".join(module.read_text(encoding="utf-8") for module in modules)
