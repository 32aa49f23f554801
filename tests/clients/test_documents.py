"""The snippets of docs/clients.md that no client's own tests run: as they stand, against the stack."""

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.stack import ROOT, RunningStack, start_stack, stop_stack

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
def test_every_client_says_who_it_is() -> None:
    text = DOCUMENT.split("\n## ")[0]
    (script,) = re.findall(r"```js\n(.*?)```", text, re.DOTALL)
    stack = start_stack("--auth", "jwt")
    try:
        body = json.dumps({"user": "alice"}).encode()
        with urllib.request.urlopen(f"{stack.demo}/_local/token", body, timeout=10) as answer:  # noqa: S310 - our own
            token = json.load(answer)["token"]
        head = f"""
            import {{ ConverseStream }} from "converse-stream";
            import {{ DefaultChatTransport }} from "ai7";
            import OpenAI from "openai";
            const [URL, API, TOKEN] = ["{stack.url}", "{stack.gateway}", "{token}"];
        """
        check = """
            console.log((await browser.send({ text: "hi [[tokens=2 pace=1 first=1]]" }).finished).finishReason);
            const parts = [{ type: "text", text: "hi [[tokens=2 pace=1 first=1]]" }];
            const messages = [{ id: "1", role: "user", parts }];
            const chatId = "a-chat-of-mine";
            const said = await transport.sendMessages({ chatId, messages, trigger: "submit-message" });
            for await (const chunk of said) if (chunk.type === "finish") console.log("finish");
            for await (const model of openai.models.list()) console.log(model.id);
            console.log(response.status); // 415: let in, and then refused for having no body
        """
        lines = said("node", "--input-type=module", "--eval", head + script + check).split()
        assert lines[:2] == ["stop", "finish"]
        assert "nova-lite" in lines
        assert lines[-1] == "415"
    finally:
        stop_stack(stack)


@JAVASCRIPT
def test_the_browser_module(stack: RunningStack) -> None:
    (script,) = snippets("The browser module", "js")
    answer = said(
        "node", "--input-type=module", "--eval", f'const URL = "{stack.host}", API = "{stack.host}";\n{script}'
    )
    assert "rivers" in answer
    assert answer.endswith("stop\n")
