"""`python -m local_stack`: runs the system of template.yaml on this machine until Ctrl-C."""

import argparse
import asyncio
import gc
import ipaddress
import signal
import socket
import sys
from pathlib import Path

from local_stack.bedrock.documents import UnreadableDocument
from local_stack.dynamodb.server import DynamoDBUnreachable
from local_stack.intrinsics import TemplateError
from local_stack.lambda_service.concurrency import ACCOUNT_LIMIT
from local_stack.lambda_service.sandbox import NoCredentials
from local_stack.stack import Options, PortInUse, Stack

ROOT = Path(__file__).resolve().parent.parent


def options(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(prog="python -m local_stack", description=__doc__)
    parser.add_argument(
        "--port", type=port, default=8787, help="port of the web host; the next five are used too (0: free ports)"
    )
    parser.add_argument(
        "--artifacts", type=Path, metavar="DIR", help="run the output of `sam build`, for example .aws-sam/build"
    )
    parser.add_argument("--bedrock", action="store_true", help="use real Bedrock with your AWS credentials")
    parser.add_argument("--rest-streaming", action="store_true", help="also start the REST API in streamed mode")
    parser.add_argument("--auth", choices=["dev", "jwt", "iam"], default="dev", help="authentication mode (dev)")
    parser.add_argument("--flags", type=Path, metavar="FILE", help="feature flags in JSON, read again each minute")
    parser.add_argument("--documents", type=Path, metavar="DIR", help="answer from the Markdown files of this folder")
    parser.add_argument("--usual-delays", action="store_true", help="Retrieve and embeddings take their usual time")
    parser.add_argument(
        "--prewarm", type=int, default=1, metavar="N", help="execution environments to start in advance (1)"
    )
    parser.add_argument(
        "--concurrency",
        type=int,
        default=ACCOUNT_LIMIT,
        metavar="N",
        help=f"concurrent invocations of the account ({ACCOUNT_LIMIT})",
    )
    parser.add_argument("--fault-rate", type=float, default=0.0, help="share of model calls that fail, 0 to 1 (0)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random faults (0)")
    parser.add_argument(
        "--bridge",
        type=bridge,
        metavar="ADDRESS",
        help="address of Docker's bridge on Linux: containers reach the Bedrock and DynamoDB emulators there",
    )
    parser.add_argument("--tls", action="store_true", help="functions call Bedrock, DynamoDB and Lambda over TLS")
    parser.add_argument(
        "--ration-cpu", action="store_true", help="CPU time in proportion to memory: 1,769 MB for one processor"
    )
    parser.add_argument(
        "--parameter",
        action="append",
        default=[],
        type=parameter,
        metavar="NAME=VALUE",
        help="parameter of the template; may be repeated",
    )
    given = parser.parse_args(arguments)
    if given.documents and given.bedrock:
        parser.error("--documents needs the Bedrock emulator; with --bedrock use --parameter KnowledgeBaseId=...")
    if given.bridge and not given.port:
        parser.error("--bridge needs a --port: containers reach the emulators by fixed ports")
    if given.bridge and given.tls:
        parser.error("use --bridge or --tls, not both: containers do not trust the stack's certificates")
    if given.documents and not given.documents.is_dir():
        parser.error(f"--documents: {given.documents} is not a folder")
    return Options(
        template=(given.artifacts or ROOT) / "template.yaml",
        web=ROOT / "web",
        port=given.port,
        real_bedrock=given.bedrock,
        rest_streaming=given.rest_streaming,
        auth=given.auth,
        flags=given.flags,
        prewarm=given.prewarm,
        concurrency=given.concurrency,
        fault_rate=given.fault_rate,
        seed=given.seed,
        documents=given.documents,
        usual_delays=given.usual_delays,
        bridge=given.bridge,
        tls=given.tls,
        ration_cpu=given.ration_cpu,
        parameters=dict(given.parameter),
    )


def port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65530:
        raise argparse.ArgumentTypeError(f"{number} is not from 0 to 65530")
    return number


def bridge(text: str) -> str:
    """Return a private IPv4 address of this machine. It must be private because the emulators need no credentials."""
    address = ipaddress.IPv4Address(text)
    if address.is_unspecified or not address.is_private:
        raise argparse.ArgumentTypeError(f"{text} is not the address of a bridge, like 172.17.0.1")
    try:
        socket.create_server((text, 0)).close()  # Python 3.13's asyncio ignores an address that does not exist
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text} is not an address of this machine: {error.strerror}") from None
    return text


def parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    return name, value


async def run(given: Options) -> int:
    """Run the stack until SIGINT or SIGTERM. Returns the exit status."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stack = Stack(given)
    try:
        starting = asyncio.create_task(stack.start())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
            return 0
        await starting
        # The DynamoDB emulator runs in its own thread. A short switch interval and a smaller heap for the garbage
        # collector keep its pauses short.
        sys.setswitchinterval(0.001)
        gc.freeze()
        announce(stack, rest=given.rest_streaming)
        await stopping
    except PortInUse as error:
        return fail(f"{error}; try another one: make run PORT=9797")
    except (TemplateError, NoCredentials, DynamoDBUnreachable, UnreadableDocument) as error:
        return fail(str(error))
    finally:
        await stack.close()
    return 0


def announce(stack: Stack, *, rest: bool) -> None:
    if stack.has_web_host:
        print(f"Web host      {stack.web_host.url}")
    print(f"Function URL  {stack.function_url.url}")
    print(f"API Gateway   {stack.http_api.url}")
    print(f"Demo page     {stack.page.url}")
    if rest:
        print(f"REST API      {stack.rest_url}")
    sys.stdout.flush()


def fail(message: str) -> int:
    print(f"local_stack: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(run(options(sys.argv[1:]))))
