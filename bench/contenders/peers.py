"""Other ways to stream an answer, and the floor. None of them has a store. Their programs are in bench/peers."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.contenders.contender import Contender
from bench.contenders.offline import offline_first
from bench.contenders.process import Command
from bench.servers.services import Services
from local_stack import emulator, template
from local_stack.lambda_service import sandbox

PROGRAMS = Path(__file__).parents[1] / "peers"
PROTOTYPE = "prototype"  # the one that ratios refer to
_NODE = (20, 0)  # the oldest version that the SDK runs on
_REQUIRE = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"


def contenders(folder: Path, services: Services) -> Iterator[Contender]:
    """The peers that can run on this machine. Others are named on stderr."""
    variables = {
        **services.endpoints(),
        "PATH": os.environ["PATH"],
        "LANG": "en_US.UTF-8",
    }
    runtime = next(iter(template.read(emulator.ROOT / "template.yaml").functions.values())).runtime
    python = sandbox.interpreter(runtime) or str(Path(sys.executable).resolve())
    packages = _installed(python, folder / "packages")
    python_variables = {
        **variables,
        "PYTHONPATH": os.pathsep.join(map(str, (packages, emulator.ROOT))),
        "PYTHONDONTWRITEBYTECODE": "1",  # `sam build` makes no .pyc, and on Lambda the folder cannot be written
    }

    def module(name: str) -> Command:
        return Command([python, "-P", "-m", f"bench.peers.{name}"], folder, python_variables)

    yield Contender(PROTOTYPE, module("prototype"))
    yield Contender("prototype with Powertools and pydantic", module("naive"), has_warm_rows=False)
    if bundle := _bundled(folder / "node.mjs"):
        yield Contender("Node, AWS SDK", Command(["node", str(bundle)], folder, variables))
    yield Contender("FastAPI, without an adapter", module("web"), serves_http=True)
    yield Contender("bare sockets", module("floor"))


def _installed(python: str, folder: Path) -> Path:
    """Installs the packages of the Python peers, offline if all are in uv's cache. Nothing is compiled or removed."""
    lock = emulator.ROOT / "requirements/bench_peers.txt"
    command = [str(emulator.ROOT / ".venv/bin/uv"), "pip", "install", "--quiet", "--system-certs", "--no-deps"]
    command += ["--python", python, "--target", str(folder), "--require-hashes", "-r", str(lock)]
    offline_first(lambda: subprocess.run(command, check=True, capture_output=True))
    return folder


def _bundled(target: Path) -> Path | None:
    """The Node program in one file, or None if Node or npm is missing or the packages cannot be installed."""
    if not shutil.which("npm") or _node_version() < _NODE:
        print("Node.js 20 and npm are needed for the Node contender", file=sys.stderr)
        return None
    if not (PROGRAMS / "node_modules/.package-lock.json").exists():
        install = ["npm", "ci", "--prefix", str(PROGRAMS), "--no-audit", "--no-fund", "--loglevel=error"]
        if subprocess.run(install, check=False).returncode:
            print("the packages of the Node contender cannot be installed", file=sys.stderr)
            return None
    esbuild: Sequence[str] = [str(PROGRAMS / "node_modules/.bin/esbuild"), str(PROGRAMS / "node.mjs"), "--bundle"]
    options = ["--platform=node", "--format=esm", "--minify", "--log-level=warning", f"--banner:js={_REQUIRE}"]
    subprocess.run([*esbuild, *options, f"--outfile={target}"], check=True)
    return target


def _node_version() -> tuple[int, ...]:
    try:
        done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)  # noqa: S607
    except OSError:
        return (0,)
    return tuple(map(int, done.stdout.strip().removeprefix("v").split(".")))
