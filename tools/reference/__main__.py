"""Writes the pages of docs/reference. With `--check` it writes nothing, lists stale pages, and fails if there are any.

PYTHONPATH=layers/converse_stream:layers/streaming_runtime:functions/stream python -m tools.reference [--check] [folder]
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tools.reference import errors_page, events_page, http_page, limits_page, models_page, parameters_page
from tools.reference.markdown import StaleTextError
from tools.reference.template import ROOT

FOLDER = ROOT / "docs/reference"
PAGES: Mapping[str, Callable[[], str]] = {
    "errors.md": errors_page.text,
    "events.md": events_page.text,
    "http.md": http_page.text,
    "limits.md": limits_page.text,
    "models.md": models_page.text,
    "parameters.md": parameters_page.text,
}


def stale(folder: Path) -> dict[Path, str]:
    """Return the files in `folder` that are not up to date, with their new text."""
    pages = {folder / name: text() for name, text in PAGES.items()}
    return {path: text for path, text in pages.items() if not path.is_file() or path.read_text("utf-8") != text}


def main(arguments: Sequence[str] | None = None) -> str | None:
    """Run the command. Returns an error message, or None."""
    parser = argparse.ArgumentParser(prog="python -m tools.reference", description="Writes docs/reference.")
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if a page is stale")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    given = parser.parse_args(arguments)
    try:
        changed = stale(given.folder)
    except StaleTextError as error:
        return f"The reference cannot be made. In tools/reference/{error}."
    if given.check:
        names = ", ".join(path.name for path in changed)
        return f"docs/reference is not up to date ({names}): run 'make docs'." if changed else None
    given.folder.mkdir(parents=True, exist_ok=True)
    for path, text in changed.items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")
    return None


if __name__ == "__main__":
    sys.exit(main())
