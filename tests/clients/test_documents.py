"""The snippets of docs/clients.md, run unchanged against the local stack; the tests of the clients run the others."""

import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from tests.stack import ROOT, RunningStack, start_stack, stop_stack

HERE = Path(__file__).parent
DOCUMENT = (ROOT / "docs/clients.md").read_text(encoding="utf-8")
JAVASCRIPT = pytest.mark.skipif(
    shutil.which("node") is None or not (HERE / "node_modules").exists(), reason="needs node and `make test`"
)


def snippets(section: str, language: str) -> list[str]:
    """Returns the section's code blocks in a language."""
    text = DOCUMENT.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def output_of(*command: str) -> str:
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True, timeout=60).stdout


def test_curl_snippet_receives_the_complete_event(stack: RunningStack) -> None:
    (script,) = snippets("Any reader of server-sent events", "sh")
    assert '"type":"complete"' in output_of("bash", "-c", f"URL={stack.host}\n{script}")


class RelayServer(http.server.ThreadingHTTPServer):
    """Relays requests to an entry point. Ends the first resumed stream after its first event, as a timeout does."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), Relay)
        self.upstream = upstream
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.resumed: list[str] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class Relay(http.server.BaseHTTPRequestHandler):
    """Relays one request and its response."""

    server: RelayServer

    def do_GET(self) -> None:
        self.server.resumed.append(self.headers["last-event-id"])
        self._relay(only_first=len(self.server.resumed) == 1)

    def do_POST(self) -> None:
        self._relay(only_first=False)

    def _relay(self, *, only_first: bool) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name: self.headers[name] for name in ("content-type", "last-event-id") if name in self.headers}
        answer = httpx.request(
            self.command, self.server.upstream + self.path, content=body, headers=headers, timeout=60
        )
        self.send_response(answer.status_code)
        self.send_header("content-type", answer.headers["content-type"])
        self.end_headers()
        first, blank, rest = answer.content.partition(b"\n\n")
        self.wfile.write(first + blank + (b"" if only_first else rest))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
        pass


def test_python_snippets_stream_resume_and_read_in_one_piece(stack: RunningStack) -> None:
    streamed, resumed = snippets("Any reader of server-sent events", "python")
    (whole,) = snippets("Clients that cannot stream", "python")
    check = 'assert [event["type"] for event in rest] == ["start", "start", "complete"], rest\n'
    with RelayServer(stack.host) as relay:
        head = f'URL, API = "{relay.url}", "{stack.gateway}"\n'
        output = output_of(sys.executable, "-c", head + streamed + resumed + check + whole)
    assert output.count("rivers") >= 2
    assert len(relay.resumed) == 2


@JAVASCRIPT
def test_authentication_snippets_send_the_token() -> None:
    text = DOCUMENT.split("\n## ")[0]
    (script,) = re.findall(r"```js\n(.*?)```", text, re.DOTALL)
    stack = start_stack("--auth", "jwt")
    try:
        body = json.dumps({"user": "alice"}).encode()
        with urllib.request.urlopen(f"{stack.demo}/_local/token", body, timeout=10) as answer:  # noqa: S310 - local URL
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
            const chatId = "client-chat-1";
            const chunks = await transport.sendMessages({ chatId, messages, trigger: "submit-message" });
            for await (const chunk of chunks) if (chunk.type === "finish") console.log("finish");
            for await (const model of openai.models.list()) console.log(model.id);
            console.log(response.status); // 415: authenticated, and rejected because it has no body
        """
        lines = output_of("node", "--input-type=module", "--eval", head + script + check).split()
        assert lines[:2] == ["stop", "finish"]
        assert "nova-lite" in lines
        assert lines[-1] == "415"
    finally:
        stop_stack(stack)


@JAVASCRIPT
def test_browser_module_snippet_prints_the_answer(stack: RunningStack) -> None:
    (script,) = snippets("The browser module", "js")
    answer = output_of(
        "node", "--input-type=module", "--eval", f'const URL = "{stack.host}", API = "{stack.host}";\n{script}'
    )
    assert "rivers" in answer
    assert answer.endswith("stop\n")
