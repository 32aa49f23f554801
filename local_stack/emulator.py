"""`python -m local_stack.emulator EVENT...`: sends events to the built functions under AWS's Lambda emulator.

AWS's Runtime Interface Emulator is part of the SAM CLI. It checks our runtime against AWS's contract without Docker. It
returns a streamed answer in one piece, so it shows that the artifacts start and answer, but not when tokens are sent.
Several events share one table, in the given order.
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
ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}  # the names of Linux, and those of Lambda
START_SECONDS = 10
TEXT = frozenset({"chunk", "reasoning"})


class EmulatorError(Exception):
    """Something is missing on this machine, or a step failed. The message is for the user."""


class Emulator:
    """A function under AWS's emulator. The emulator starts it with the first event."""

    def __init__(self, function: Function, folder: Path, variables: Mapping[str, str]) -> None:
        box = sandbox.build(function, folder, variables)
        # The emulator passes empty AWS keys to the function, so `env` sets them again.
        credentials = [f"{name}={value}" for name, value in sandbox.FAKE_CREDENTIALS.items()]
        port, runtime_api = free_port(), free_port()
        self._address = (HOST, port)
        self._process = subprocess.Popen(
            [
                *(emulator_program(), "--log-level", "error"),
                *("--runtime-interface-emulator-address", f"{HOST}:{port}"),
                *("--runtime-api-address", f"{HOST}:{runtime_api}"),
                *("/usr/bin/env", *credentials, *box.command),
            ],
            cwd=box.task_root,
            env={**box.variables, "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function.timeout)},
            stdout=sys.stderr,
        )

    async def invoke(self, payload: bytes) -> bytes:
        """Return the function's result. A streamed one includes its prelude. Raises EmulatorError."""
        await self._wait_until_listening()
        url = "http://{}:{}/2015-03-31/functions/function/invocations".format(*self._address)

        def post() -> bytes:
            with urllib.request.urlopen(url, payload) as reply:  # noqa: S310 - a local address
                result: bytes = reply.read()
                return result

        try:
            return await asyncio.to_thread(post)
        except OSError as error:
            raise EmulatorError(f"the function did not answer: {error}; its output is above") from error

    def close(self) -> None:
        self._process.terminate()  # also ends the function
        self._process.wait()

    async def _wait_until_listening(self) -> None:
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while asyncio.get_running_loop().time() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(self._address):
                return
            await asyncio.sleep(0.01)
        raise EmulatorError("AWS's emulator did not start")


def architecture() -> str:
    """Return the architecture of this machine, as Lambda names it. Raises EmulatorError if it is not supported."""
    if sys.platform != "linux" or platform.machine() not in ARCHITECTURES:
        raise EmulatorError("AWS's emulator runs on Linux; elsewhere use Docker: see events/README.md")
    return ARCHITECTURES[platform.machine()]


def emulator_program() -> Path:
    """Return the path of AWS's emulator for this machine. Raises EmulatorError."""
    paths = [*SAM.glob(f"lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-{architecture()}")]
    if not paths:
        raise EmulatorError("the SAM CLI is not installed: run `make .venv-sam/installed`")
    return paths[0]


def build(folder: Path, tree: Path = ROOT) -> Path:
    """Run `sam build` for this machine in `tree`, into `folder`, with the tools of this tree.

    Returns the path of the built template. Raises EmulatorError.
    """
    runtime = next(iter(templates.read(tree / "template.yaml").functions.values())).runtime
    version = "{}.{}".format(*sys.version_info)
    if sandbox.interpreter(runtime):
        version = runtime.removeprefix("python")
    else:
        print(f"{runtime} is not installed: using python{version} instead.", file=sys.stderr)
    command = [str(SAM / "bin/sam"), "build", "--build-dir", str(folder)]
    command += ["--parameter-overrides", f"Architecture={architecture()}"]
    variables = {**os.environ, "TARGET": version, "SAM_CLI_TELEMETRY": "0", "UV": str(ROOT / ".venv/bin/uv")}
    done = subprocess.run(command, cwd=tree, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EmulatorError(f"sam build failed:\n{done.stderr}")
    return folder / "template.yaml"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def function_for(event: Any, template: Template) -> Function:
    """Return the function for an event.

    Function URL and REST API events go to the function that streams, HTTP API events and tasks to the other one.
    """
    [streaming] = (function for function in template.functions.values() if function.has_url)
    [other] = (function for function in template.functions.values() if not function.has_url)
    if "requestContext" not in event:
        return other
    is_rest = event.get("version") != "2.0"
    return streaming if is_rest or ".lambda-url." in event["requestContext"].get("domainName", "") else other


def readable(event: Any, result: bytes) -> str:
    """Format a result for the terminal. An HTTP response has status, headers and body; streamed text is joined."""
    if PRELUDE_END in result:
        response = Prelude().feed(result)
        assert response is not None  # noqa: S101 - it is complete
        return "\n".join(response_lines(*response))
    value = json.loads(result)
    if "requestContext" in event and "statusCode" in value:
        return "\n".join(response_lines(*answer_of(result)))
    return pretty(value)


def response_lines(head: Head, body: bytes) -> Iterator[str]:
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
    """Yield one line for each event. In the native dialect, successive text events are joined."""
    lines = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    if "[DONE]" in lines:
        yield from lines
        return
    events = [json.loads(line) for line in lines]
    for kind, group in itertools.groupby(events, key=lambda event: event["type"]):
        successive = list(group)
        if kind in TEXT:
            yield f"{kind} ({len(successive)}): {''.join(event['content'] for event in successive)}"
        else:
            yield from (json.dumps(event, ensure_ascii=False) for event in successive)


async def run(events: list[Path], artifacts: Path | None) -> None:
    """Print the result of each event. Raises EmulatorError and TemplateError."""
    async with contextlib.AsyncExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="emulator-")))
        built = artifacts / "template.yaml" if artifacts else build(folder / "build")
        # Learning is disabled because there is no Invoke API for its asynchronous task.
        template = templates.read(built, {"RestStreaming": "enabled", "Learning": "disabled"})
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
    parser.add_argument(
        "--artifacts", type=Path, metavar="DIR", help="existing output of `sam build`; without it, the command builds"
    )
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the started processes are ended
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
