"""The snippets of docs/clients.md that no client's own tests run: as they stand, against the stack."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack import ROOT, RunningStack

HERE = Path(__file__).parent
DOCUMENT = (ROOT / "docs/clients.md").read_text(encoding="utf-8")
JAVASCRIPT = pytest.mark.skipif(
    shutil.which("node") is None or not (HERE / "node_modules").exists(), reason="needs node and `make test`"
)


def snippets(section: str, language: str) -> list[str]:
    text = DOCUMENT.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def said(*command: str) -> str:
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True, timeout=60).stdout


def test_curl(stack: RunningStack) -> None:
    (script,) = snippets("Any reader of server-sent events", "sh")
    assert '"type":"complete"' in said("bash", "-c", f"URL={stack.host}\n{script}")


def test_python_streamed_and_in_one_piece(stack: RunningStack) -> None:
    streamed, resumed = snippets("Any reader of server-sent events", "python")
    (whole,) = snippets("Whoever cannot stream", "python")
    head = f'URL, API = "{stack.host}", "{stack.gateway}"\n'
    check = 'assert rest[0]["type"] == "start" and rest[-1]["type"] == "complete", rest\n'
    assert said(sys.executable, "-c", head + streamed + resumed + check + whole).count("rivers") >= 2


@JAVASCRIPT
def test_the_browser_module(stack: RunningStack) -> None:
    (script,) = snippets("The browser module", "js")
    answer = said(
        "node", "--input-type=module", "--eval", f'const URL = "{stack.host}", API = "{stack.host}";\n{script}'
    )
    assert "rivers" in answer
    assert answer.endswith("stop\n")
