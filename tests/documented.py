"""What the documents show for others to use: commands and settings."""

import re
from pathlib import Path

from tests.stack import ROOT

HIDDEN_OR_FOREIGN = re.compile(r"^(\.|node_modules$)")
DOCUMENTS = [
    path
    for path in sorted(ROOT.glob("**/*.md"))
    if not any(HIDDEN_OR_FOREIGN.match(part) for part in path.relative_to(ROOT).parts)
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path, language: str, section: str = "") -> list[str]:
    """The document's code blocks in a language, or those under a heading, up to the next one."""
    text = document.read_text(encoding="utf-8")
    if section:
        text = re.split(r"^#+ ", text.partition(f"# {section}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    return [block for named, block in BLOCK.findall(text) if named == language]


def commands(document: Path, section: str = "") -> list[str]:
    """Each command of the shell's blocks, in one line and without its comment."""
    shown = "".join(blocks(document, "sh", section) + blocks(document, "", section))
    lines = shown.replace("\\\n", " ").splitlines()
    found = (re.sub(r"(^|\s+)# .*", "", line).strip() for line in lines)
    return [" ".join(command.split()) for command in found if command]
