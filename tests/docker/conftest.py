"""Fixtures for Docker: the engine, the functions' base image, and a checkout in which documented commands run."""

import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import randrange

import pytest

from local_stack import template as templates
from local_stack.emulator import ARCHITECTURES
from local_stack.lambda_service.sandbox import interpreter
from tests.docker import image
from tests.stack import ROOT

NOT_COPIED = (".*", "node_modules", "tests", "bench", "docs")


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def images(template: str) -> list[str]:
    """Returns the engine's images in this format, newest first."""
    return docker("image", "ls", "--all", "--no-trunc", "--format", template).split()


@pytest.fixture(scope="session")
def engine() -> None:
    """Skips the test if no Docker engine is running."""
    try:
        docker("version")
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", "").strip() or str(error)
        pytest.skip(f"needs a running Docker engine, see CONTRIBUTING.md: {reason}")


@pytest.fixture(scope="session")
def runtime() -> str:
    """The runtime of the template's functions, such as `python3.13`."""
    return next(iter(templates.read(ROOT / "template.yaml").functions.values())).runtime


@pytest.fixture(scope="session")
def base_image(engine: None, runtime: str, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of the SAM CLI's base image: AWS's if it was pulled before, else one made from files of this machine."""
    before = images("{{.ID}}")
    name = f"public.ecr.aws/lambda/python:{runtime.removeprefix('python')}-{ARCHITECTURES[platform.machine()]}"
    if name not in images("{{.Repository}}:{{.Tag}}"):
        python = interpreter(runtime)
        if python is None:
            pytest.skip(f"the image {name} was not pulled, and cannot be made without {runtime}")
        root = tmp_path_factory.mktemp("image")
        image.lay_out(root, runtime, python, built.parent)
        image.load(root, name)
        shutil.rmtree(root)
    yield name
    created = [image_id for image_id in images("{{.ID}}") if image_id not in before]
    subprocess.run(["docker", "image", "rm", "--force", *created], capture_output=True, check=False)


@pytest.fixture(scope="session")
def bridge(base_image: str, runtime: str) -> str:
    """This machine's address for containers."""
    lookup = "import socket; print(socket.gethostbyname('host'))"
    options = ("--rm", "--add-host", "host:host-gateway", "--entrypoint", f"/var/lang/bin/{runtime}")
    return docker("run", *options, base_image, "-c", lookup)


@pytest.fixture(scope="session")
def port() -> int:
    """The first of six free ports in a row, as `make run` needs them."""
    while True:
        first = randrange(20_000, 30_000)  # noqa: S311 - not a secret
        try:
            for number in range(first, first + 6):
                with socket.create_server(("127.0.0.1", number)):
                    pass
        except OSError:
            continue
        return first


@pytest.fixture(scope="session")
def checkout(port: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with this checkout's virtualenvs, and with the emulators' ports in events/env.json."""
    folder = tmp_path_factory.mktemp("checkout") / "checkout"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_COPIED))
    for environment in (".venv", ".venv-sam"):
        (folder / environment).symlink_to(ROOT / environment)
    for lock in (folder / "requirements").iterdir():
        os.utime(lock, (0, 0))  # older than the virtualenvs, so that make installs nothing
    env_file = folder / "events/env.json"
    text = env_file.read_text(encoding="utf-8")
    env_file.write_text(text.replace(":8790", f":{port + 3}").replace(":8791", f":{port + 4}"), encoding="utf-8")
    return folder
