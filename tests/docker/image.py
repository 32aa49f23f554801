"""Makes a base image for `sam local` from files of this machine, for machines that cannot pull AWS's image.

It has the layout of AWS's image: the interpreter in /var/lang, the runtime client in /var/runtime, and a bootstrap
that supports the exec wrapper. The SAM CLI needs the shell and the few tools to build an image with the layers on top.
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
EXCLUDED = ("site-packages", "dist-packages", "test", "idlelib", "ensurepip", "config-*", "*.a")
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
PRINT_PATHS = """
import json, os, sys, sysconfig
print(json.dumps([os.path.realpath(getattr(sys, "_base_executable", sys.executable)), sysconfig.get_path("stdlib")]))
"""
LIBRARY = re.compile(r"(/\S+) \(0x")


def lay_out(root: Path, runtime: str, python: str, artifacts: Path) -> None:
    """Fill `root` with the files of a runtime such as `python3.13`.

    `python` is an interpreter of this machine, `artifacts` a build whose layer has the runtime client.
    """
    executable, library = (Path(path) for path in json.loads(output(python, "-c", PRINT_PATHS)))
    lang, client = root / "var/lang", root / "var/runtime"
    for folder in (root / "bin", root / "tmp", root / "opt", root / "var/task", lang / "bin", client):
        folder.mkdir(parents=True)
    shutil.copy(executable, lang / "bin" / runtime)
    shutil.copytree(library, lang / "lib" / runtime, ignore=shutil.ignore_patterns(*EXCLUDED))
    tools = [Path(path) for tool in TOOLS if (path := shutil.which(tool))]
    for tool in tools:
        shutil.copy(tool, root / "bin")
    binaries = [*library.glob("lib-dynload/*.so"), *artifacts.rglob("*.so")]
    for shared_library in shared_libraries([executable, *tools, *binaries]):
        copy = root / shared_library.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shared_library, copy)
    for pattern in RUNTIME_PACKAGES:
        for package in artifacts.glob(f"*/streaming-runtime/{pattern}"):
            if package.is_dir():
                shutil.copytree(package, client / package.name)
            else:
                shutil.copy(package, client)
    shutil.copy(BOOTSTRAP, client)
    (client / "bootstrap").write_text(START.format(runtime=runtime), encoding="utf-8")
    (client / "bootstrap").chmod(0o755)


def load(root: Path, name: str) -> None:
    """Import the files of `root` into the Docker engine, as the image `name`."""
    changes = [f"ENV {variable}={value}" for variable, value in VARIABLES.items()] + ["WORKDIR /var/task"]
    options = [option for change in changes for option in ("--change", change)]
    with subprocess.Popen(["tar", "--directory", root, "--create", "."], stdout=subprocess.PIPE) as archive:
        subprocess.run(["docker", "import", *options, "-", name], stdin=archive.stdout, check=True, capture_output=True)


def shared_libraries(files: Iterable[Path]) -> set[Path]:
    """Returns the paths of the shared libraries that the binaries load, and of the dynamic loader."""
    return {Path(path) for path in LIBRARY.findall(output("ldd", *files))}


def output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
