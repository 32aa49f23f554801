"""Our own functions, as `sam build` makes them from a tree of this repository."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.contenders.contender import Contender
from bench.contenders.offline import offline_first
from bench.contenders.process import Command
from bench.servers.services import Services
from local_stack import emulator, template
from local_stack.lambda_service import sandbox

# The limits are on, but a benchmark must not reach them.
PARAMETERS = {
    "UserRequestsPerMinute": "6000",
    "UserBurst": "1000",
    "AddressRequestsPerMinute": "60000",
    "AddressBurst": "10000",
    "UserDayTokens": "1000000000",
    "UserDayUsd": "1000000",
    "DayUsd": "1000000",
}
FUNCTIONS = {"stream": "StreamFunction", "converse": "ConverseFunction"}


@contextmanager
def checked_out(ref: str, folder: Path) -> Iterator[Path]:
    """A tree with the files of a git ref. Raises CalledProcessError if there is no such ref."""
    git = ["git", "-C", str(emulator.ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), ref], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def build(tree: Path, folder: Path) -> Path:
    """Builds a tree into `folder`, offline if all wheels are in uv's cache. Returns the template of the artifacts."""
    return offline_first(lambda: emulator.build(folder, tree))


def contender(name: str, artifacts: Path, folder: Path, services: Services, function: str = "stream") -> Contender:
    """A built function, with everything on: log, memory, limits, metrics and learning."""
    built = template.read(artifacts, PARAMETERS).functions[FUNCTIONS[function]]
    box = sandbox.build(built, folder, services.endpoints())
    # On Lambda the folder of the function cannot be written.
    variables = {**box.variables, "PYTHONDONTWRITEBYTECODE": "1"}
    return Contender(name, Command(box.command, box.task_root, variables), megabytes=_megabytes(artifacts.parent))


def _megabytes(artifacts: Path) -> float:
    """The size of all layers and functions, in MB."""
    folders = [path for path in artifacts.iterdir() if path.is_dir()]
    return sum(file.stat().st_size for each in folders for file in each.rglob("*") if file.is_file()) / 1e6
