"""README.md's commands and snippets, run unchanged against the local stack."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.documented import blocks
from tests.stack import ROOT, RunningStack

HERE = Path(__file__).parent
README = ROOT / "README.md"
JAVASCRIPT = pytest.mark.skipif(
    shutil.which("node") is None or not (HERE / "node_modules").exists(), reason="needs node and `make test`"
)


def output_of(*command: str) -> str:
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True, timeout=60).stdout


def frames(output: str) -> list[tuple[int, dict[str, Any]]]:
    """Returns the position and data of each event; the position is -1 if there is no id. `{…}` is read as `{}`."""
    found = re.findall(r"^(?:id: [\w-]+:(\d+)\n)?data: (\{.*\})$", output.replace("{…}", "{}"), re.MULTILINE)
    return [(int(position or -1), json.loads(data)) for position, data in found]


def test_curl_prints_the_documented_output(stack: RunningStack) -> None:
    _, command = blocks(README, "sh", "Quick start")
    [documented_output] = blocks(README, "", "Quick start")
    output = output_of("bash", "-c", command.replace("http://127.0.0.1:8787", stack.host))
    expected, actual = frames(documented_output), frames(output)
    assert [kind["type"] for _, kind in expected] == ["start", "chunk", "chunk", "chunk", "complete"]
    assert expected[1:4] == actual[1:4]
    assert "\n:\n" in documented_output
    for (_, documented), (_, sent) in ((expected[0], actual[0]), (expected[-1], actual[-1])):
        assert documented.keys() == sent.keys()
        assert documented["type"] == sent["type"]
    for field in ("usage", "metrics"):
        assert expected[-1][1][field].keys() == actual[-1][1][field].keys()


def test_documented_python_clients_print_the_answer(stack: RunningStack) -> None:
    openai, any_reader = blocks(README, "python", "Clients")
    head = f'URL = "{stack.host}"\n'
    assert "rivers" in output_of(sys.executable, "-c", head + openai)
    assert "'type': 'complete'" in output_of(sys.executable, "-c", head + any_reader)


@JAVASCRIPT
def test_documented_javascript_clients_print_the_answer(stack: RunningStack) -> None:
    browser, use_chat = blocks(README, "js", "Clients")
    head = f'const URL = "{stack.host}", API = "{stack.host}";\n'
    assert "rivers" in output_of("node", "--input-type=module", "--eval", head + browser)

    hook = 'import { useChat } from "@ai-sdk/react";\n'
    assert hook in use_chat  # React is not installed here, and only the transport differs from other servers
    head += """
        const useChat = ({ transport }) => ({ messages: [], sendMessage: (sent) => transport.sendMessages(sent) });
    """
    check = """
        const parts = [{ type: "text", text: "hi [[tokens=2 pace=1 first=1]]" }];
        const question = { id: "1", role: "user", parts };
        const request = { chatId: "chat-of-readme", messages: [question], trigger: "submit-message" };
        for await (const chunk of await sendMessage(request)) console.log(messages.length, chunk.type);
    """
    script = use_chat.replace(hook, "").replace('from "ai"', 'from "ai7"')
    assert "0 finish\n" in output_of("node", "--input-type=module", "--eval", head + script + check)
