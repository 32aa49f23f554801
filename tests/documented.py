"""Commands and settings in the code blocks of the documentation."""

import re
from pathlib import Path

from tests.stack import ROOT

EXCLUDED_NAMES = re.compile(r"^(\.|node_modules$)")
DOCUMENTS = [
    path
    for path in sorted(ROOT.glob("**/*.md"))
    if not any(EXCLUDED_NAMES.match(part) for part in path.relative_to(ROOT).parts)
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path, language: str, section: str = "") -> list[str]:
    """Returns the document's code blocks in a language; with `section`, only those below that heading."""
    text = document.read_text(encoding="utf-8")
    if section:
        text = re.split(r"^#+ ", text.partition(f"# {section}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    return [block for block_language, block in BLOCK.findall(text) if block_language == language]


def commands(document: Path, section: str = "") -> list[str]:
    """Returns the commands in the document's shell blocks, each as one line without its comment."""
    shell_code = "".join(blocks(document, "sh", section) + blocks(document, "", section))
    lines = shell_code.replace("\\\n", " ").splitlines()
    stripped = (re.sub(r"(^|\s+)# .*", "", line).strip() for line in lines)
    return [" ".join(command.split()) for command in stripped if command]
