"""`python -m local_stack.emulator EVENT...`: events through AWS's own Lambda emulator, on what `sam build` makes.

The Runtime Interface Emulator comes with the SAM CLI. It holds our runtime to AWS's contract, without Docker, but hands
a streamed answer over in one piece: what it proves is that the artifacts start and answer, not when tokens come.
Several events share one table and go through in the order given.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from local_stack import bedrock
from local_stack import template as templates
from local_stack.dynamodb.server import DynamoDB
from local_stack.entry_points.events import PRELUDE_END, Head, Prelude, answer_of
from local_stack.intrinsics import TemplateError
from local_stack.lambda_service import sandbox
from local_stack.template import Function, Template

ROOT = Path(__file__).resolve().parent.parent
SAM = ROOT / ".venv-sam"
HOST = "127.0.0.1"
ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}  # what Linux calls them, and Lambda
START_SECONDS = 10
TEXT = frozenset({"chunk", "reasoning"})


class EmulatorError(Exception):
    """What this machine lacks or what went wrong, in words for its owner."""


class Emulator:
    """One function in AWS's emulator, which starts it with the first event."""

    def __init__(self, function: Function, folder: Path, variables: Mapping[str, str]) -> None:
        box = sandbox.build(function, folder, variables)
        # The emulator hands on empty AWS keys, so these are set again behind it.
        inside = [f"{name}={value}" for name, value in sandbox.FAKE_CREDENTIALS.items()]
        port, runtime_api = free_port(), free_port()
        self._address = (HOST, port)
        self._process = subprocess.Popen(
            [
                *(emulator_program(), "--log-level", "error"),
                *("--runtime-interface-emulator-address", f"{HOST}:{port}"),
                *("--runtime-api-address", f"{HOST}:{runtime_api}"),
                *("/usr/bin/env", *inside, *box.command),
            ],
            cwd=box.task_root,
            env={**box.variables, "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function.timeout)},
            stdout=sys.stderr,
        )

    async def invoke(self, payload: bytes) -> bytes:
        """The function's result; a streamed one with its prelude in front. Raises EmulatorError."""
        await self._listens()
        url = "http://{}:{}/2015-03-31/functions/function/invocations".format(*self._address)

        def post() -> bytes:
            with urllib.request.urlopen(url, payload) as reply:  # noqa: S310 - the address is ours
                result: bytes = reply.read()
                return result

        try:
            return await asyncio.to_thread(post)
        except OSError as error:
            raise EmulatorError(f"the function did not answer: {error}; its output is above") from error

    def close(self) -> None:
        self._process.terminate()  # it ends the function, too
        self._process.wait()

    async def _listens(self) -> None:
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while asyncio.get_running_loop().time() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(self._address):
                return
            await asyncio.sleep(0.01)
        raise EmulatorError("AWS's emulator did not start")


def architecture() -> str:
    """This machine's, as Lambda names it. Raises EmulatorError where AWS's emulator does not run."""
    if sys.platform != "linux" or platform.machine() not in ARCHITECTURES:
        raise EmulatorError("AWS's emulator runs on Linux; elsewhere use Docker: see events/README.md")
    return ARCHITECTURES[platform.machine()]


def emulator_program() -> Path:
    """AWS's emulator for this machine. Raises EmulatorError."""
    found = [*SAM.glob(f"lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-{architecture()}")]
    if not found:
        raise EmulatorError("the SAM CLI is not installed here: run `make .venv-sam/installed`")
    return found[0]


def build(folder: Path) -> Path:
    """The template of what `sam build` makes in `folder` for this machine. Raises EmulatorError."""
    runtime = next(iter(templates.read(ROOT / "template.yaml").functions.values())).runtime
    version = "{}.{}".format(*sys.version_info)
    if sandbox.interpreter(runtime):
        version = runtime.removeprefix("python")
    else:
        print(f"There is no {runtime} here: built for and run by python{version} instead.", file=sys.stderr)
    command = [str(SAM / "bin/sam"), "build", "--build-dir", str(folder)]
    command += ["--parameter-overrides", f"Architecture={architecture()}"]
    variables = {**os.environ, "TARGET": version, "SAM_CLI_TELEMETRY": "0"}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EmulatorError(f"sam build failed:\n{done.stderr}")
    return folder / "template.yaml"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def function_for(event: Any, template: Template) -> Function:
    """Function URL and REST events go to the function that streams; HTTP API events and tasks to the other."""
    [streaming] = (function for function in template.functions.values() if function.has_url)
    [other] = (function for function in template.functions.values() if not function.has_url)
    if "requestContext" not in event:
        return other
    is_rest = event.get("version") != "2.0"
    return streaming if is_rest or ".lambda-url." in event["requestContext"].get("domainName", "") else other


def readable(event: Any, result: bytes) -> str:
    """A result as people read it: status, headers and body of an HTTP answer, the text of a stream in one piece."""
    if PRELUDE_END in result:
        answer = Prelude().feed(result)
        assert answer is not None  # noqa: S101 - it is complete
        return "\n".join(http_answer(*answer))
    value = json.loads(result)
    if "requestContext" in event and "statusCode" in value:
        return "\n".join(http_answer(*answer_of(result)))
    return pretty(value)


def http_answer(head: Head, body: bytes) -> Iterator[str]:
    yield str(head.status)
    yield from (f"{name.lower()}: {value}" for name, value in head.headers)
    yield ""
    content_type = {name.lower(): value for name, value in head.headers}["content-type"]
    if content_type == "text/event-stream":
        yield from frames(body.decode())
    elif content_type == "application/json" and body:
        yield pretty(json.loads(body))
    else:
        yield body.decode()


def pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def frames(text: str) -> Iterator[str]:
    """One line an event; in our own dialect, text that came in many pieces is joined."""
    lines = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    if "[DONE]" in lines:
        yield from lines
        return
    events = [json.loads(line) for line in lines]
    for kind, group in itertools.groupby(events, key=lambda event: event["type"]):
        alike = list(group)
        if kind in TEXT:
            yield f"{kind} ({len(alike)}): {''.join(event['content'] for event in alike)}"
        else:
            yield from (json.dumps(event, ensure_ascii=False) for event in alike)


async def run(events: list[Path], artifacts: Path | None) -> None:
    """Print what each event is answered. Raises EmulatorError and TemplateError."""
    async with contextlib.AsyncExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="emulator-")))
        built = artifacts / "template.yaml" if artifacts else build(folder / "build")
        template = templates.read(built, {"RestStreaming": "enabled", "Learning": "disabled"})  # nobody to hand over to
        model = await bedrock.serve(HOST, 0)
        cleanup.push_async_callback(model.close)
        tables = DynamoDB()
        tables.start()
        cleanup.callback(tables.stop)
        for table in template.tables:
            tables.create_table(table)
        variables = sandbox.service_variables({"BEDROCK_RUNTIME": model.url, "DYNAMODB": tables.url})
        emulators: dict[str, Emulator] = {}
        for path in events:
            event = json.loads(path.read_text(encoding="utf-8"))
            function = function_for(event, template)
            if function.name not in emulators:
                emulators[function.name] = Emulator(function, folder / function.name, variables)
                cleanup.callback(emulators[function.name].close)
            result = await emulators[function.name].invoke(json.dumps(event).encode())
            print(f"{path} -> {function.name}\n{readable(event, result)}\n", flush=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m local_stack.emulator", description=__doc__)
    parser.add_argument("events", type=Path, nargs="+", metavar="EVENT")
    parser.add_argument("--artifacts", type=Path, metavar="DIR", help="what `sam build` made before; else it is built")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is ended
    try:
        asyncio.run(run(given.events, given.artifacts))
    except KeyboardInterrupt:
        return 130
    except (EmulatorError, TemplateError, OSError, ValueError) as error:
        print(f"emulator: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
