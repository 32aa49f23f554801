"""A base image for `sam local` of what this machine has, for where AWS's own cannot be pulled.

It is laid out like AWS's: the interpreter in /var/lang, the runtime client in /var/runtime, and a bootstrap that
honours the exec wrapper. The shell and its few tools are for SAM CLI, which builds an image with the layers on top.
https://docs.aws.amazon.com/lambda/latest/dg/python-image.html
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from local_stack.lambda_service.sandbox import BOOTSTRAP, RUNTIME_PACKAGES

TOOLS = ("sh", "chmod", "cp", "mv", "rm")
NOT_OF_THE_RUNTIME = ("site-packages", "dist-packages", "test", "idlelib", "ensurepip", "config-*", "*.a")
VARIABLES = {
    "LANG": "en_US.UTF-8",
    "TZ": ":UTC",
    "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin",
    "LAMBDA_TASK_ROOT": "/var/task",
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
    "LOCAL_STACK_OPT": "/opt",  # for our bootstrap.py
}
START = """#!/bin/sh
export AWS_EXECUTION_ENV=AWS_Lambda_{runtime}
exec ${{AWS_LAMBDA_EXEC_WRAPPER:-}} /var/lang/bin/{runtime} /var/runtime/bootstrap.py
"""
ABOUT = """
import json, os, sys, sysconfig
print(json.dumps([os.path.realpath(getattr(sys, "_base_executable", sys.executable)), sysconfig.get_path("stdlib")]))
"""
LIBRARY = re.compile(r"(/\S+) \(0x")


def lay_out(root: Path, runtime: str, python: str, artifacts: Path) -> None:
    """Fill `root` for a runtime like `python3.13`, of this machine's `python` and a layer that bundles its client."""
    executable, library = (Path(each) for each in json.loads(output(python, "-c", ABOUT)))
    lang, client = root / "var/lang", root / "var/runtime"
    for folder in (root / "bin", root / "tmp", root / "opt", root / "var/task", lang / "bin", client):
        folder.mkdir(parents=True)
    shutil.copy(executable, lang / "bin" / runtime)
    shutil.copytree(library, lang / "lib" / runtime, ignore=shutil.ignore_patterns(*NOT_OF_THE_RUNTIME))
    tools = [Path(found) for tool in TOOLS if (found := shutil.which(tool))]
    for tool in tools:
        shutil.copy(tool, root / "bin")
    machine_code = [*library.glob("lib-dynload/*.so"), *artifacts.rglob("*.so")]
    for needed in shared_libraries([executable, *tools, *machine_code]):
        copy = root / needed.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(needed, copy)
    for pattern in RUNTIME_PACKAGES:
        for package in artifacts.glob(f"*/python/{pattern}"):
            if package.is_dir():
                shutil.copytree(package, client / package.name)
            else:
                shutil.copy(package, client)
    shutil.copy(BOOTSTRAP, client)
    (client / "bootstrap").write_text(START.format(runtime=runtime), encoding="utf-8")
    (client / "bootstrap").chmod(0o755)


def load(root: Path, name: str) -> None:
    """Give the Docker engine an image of what is in `root`."""
    changes = [f"ENV {variable}={value}" for variable, value in VARIABLES.items()] + ["WORKDIR /var/task"]
    options = [option for change in changes for option in ("--change", change)]
    with subprocess.Popen(["tar", "--directory", root, "--create", "."], stdout=subprocess.PIPE) as archive:
        subprocess.run(["docker", "import", *options, "-", name], stdin=archive.stdout, check=True, capture_output=True)


def shared_libraries(files: Iterable[Path]) -> set[Path]:
    """The shared libraries of machine code, the loader among them, by the paths under which it looks for them."""
    return {Path(found) for found in LIBRARY.findall(output("ldd", *files))}


def output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
