"""Prepares an execution environment: the folder /opt, environment variables and a command line.

Variables: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
Exec wrapper: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-modify.html
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from boto3.session import Session
from botocore.exceptions import BotoCoreError

from local_stack.template import REGION, Function, Layer

BOOTSTRAP = Path(__file__).parent / "var_runtime" / "bootstrap.py"
NOT_IN_LAYERS = frozenset({"README.md"})
RUNTIME_PACKAGES = ("awslambdaric", "runtime_client*", "simplejson", "snapshot_restore_py*")
OPT = re.compile(r"(?<![^:=\s])/opt(?=[/:]|$)")
CREDENTIALS = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE",
    "AWS_ROLE_", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_",
)  # fmt: skip
FAKE_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_SESSION_TOKEN": "local",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
}


class NoCredentials(Exception):
    """Real Bedrock needs AWS credentials and a region, and the user has none."""


@dataclass(frozen=True)
class Sandbox:
    """How to start a function: run `command` in the folder `task_root` with only these `variables`."""

    command: tuple[str, ...]
    task_root: Path
    variables: Mapping[str, str]


def build(function: Function, folder: Path, variables: Mapping[str, str]) -> Sandbox:
    """Create the files of `function` under `folder`.

    `variables` are credentials and endpoints of the stack. They override the variables of the template.
    """
    opt, runtime = folder / "opt", folder / "runtime"
    merge_layers(function.layers, opt)
    runtime.mkdir(parents=True)
    bootstrap = shutil.copy(BOOTSTRAP, runtime)
    version = "python{}.{}".format(*sys.version_info)
    python = sys.executable
    if any(layer.built for layer in function.layers):
        # Without the virtual environment: with its packages, a package missing in the artifacts would go unnoticed.
        python = str(Path(sys.executable).resolve())
        if path := interpreter(function.runtime):
            python, version = path, function.runtime
        _link_runtime(function, runtime)
    environment = {
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{version}",
        **{name: OPT.sub(str(opt), value) for name, value in function.environment.items()},
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        "LAMBDA_TASK_ROOT": str(function.code),
        "LAMBDA_RUNTIME_DIR": str(runtime),
        "LOCAL_STACK_OPT": str(opt),
        "_HANDLER": function.handler,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        **variables,
    }
    command = [python, str(bootstrap)]
    if wrapper := environment.get("AWS_LAMBDA_EXEC_WRAPPER"):
        command.insert(0, wrapper)
    return Sandbox(tuple(command), function.code, environment)


def interpreter(runtime: str) -> str | None:
    """Return the path of the Python of a runtime such as `python3.13`, or None if it is not installed."""
    variables = {**os.environ, "PYENV_VERSION": runtime.removeprefix("python")}  # for the shims of pyenv
    command = [runtime, "-c", "import sys; print(sys.executable)"]
    try:
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def merge_layers(layers: Iterable[Layer], opt: Path) -> None:
    """Merge layers into the folder `opt`, as Lambda does. Files of later layers replace those of earlier ones.

    A built layer has the structure of /opt. In a source layer, a package (a folder with `__init__.py`) goes into
    /opt/python, or into the layer's other folder if there is one, which goes into /opt like any other file.
    Third-party packages are those of the interpreter.
    """
    (opt / "python").mkdir(parents=True)
    for layer in layers:
        packages = opt / _packages_folder(layer)
        for entry in sorted(layer.folder.iterdir()):
            if layer.built and entry.name == "python":
                for package in entry.iterdir():
                    _link(package, opt / "python")
            elif layer.built and entry.is_dir():
                _link(entry, opt)
            elif (entry / "__init__.py").exists():
                _link(entry, packages)
            elif entry.name == packages.name:
                for file in entry.glob("*.py"):
                    _link(file, packages)
            elif entry.is_file() and entry.name not in NOT_IN_LAYERS and not entry.name.startswith("."):
                shutil.copy(entry, opt)  # not a link, because a script may use its own path


def _packages_folder(layer: Layer) -> str:
    """Return the name of the folder in /opt for the packages of a source layer."""
    for entry in layer.folder.iterdir():
        if entry.is_dir() and not (entry / "__init__.py").exists() and any(entry.glob("*.py")):
            return entry.name
    return "python"


def _link(source: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    target = folder / source.name
    target.unlink(missing_ok=True)
    target.symlink_to(source.resolve())


def _link_runtime(function: Function, runtime: Path) -> None:
    """Link the runtime client, which a managed runtime contains. It is taken from the built layer that bundles it."""
    for layer in sorted(function.layers[0].folder.parent.iterdir()):
        for pattern in RUNTIME_PACKAGES:
            for package in layer.glob(f"*/{pattern}"):
                _link(package, runtime)


def service_variables(
    endpoints: Mapping[str, str], credentials: Mapping[str, str] = FAKE_CREDENTIALS, auth_mode: str = "dev"
) -> dict[str, str]:
    """Return the functions' variables for AWS: credentials, endpoints and the authentication mode.

    `endpoints`: URLs of the emulators, by the service's name in upper case. The user's AWS_ENDPOINT_URL_* variables
    override them. `auth_mode` may be dev, which exists only here.
    """
    variables = {f"AWS_ENDPOINT_URL_{service}": url for service, url in endpoints.items()}
    return {**credentials, **variables, **user_endpoints(), "AUTH_MODE": auth_mode}


def user_endpoints() -> dict[str, str]:
    """Return the user's AWS_ENDPOINT_URL_* variables. Empty ones are ignored, as in boto3."""
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_ENDPOINT_URL_") and value}


def user_credentials() -> dict[str, str]:
    """Return the variables with the user's AWS credentials and region. Raises NoCredentials."""
    try:
        session = Session()
        region, credentials = os.environ.get("AWS_REGION") or session.region_name, session.get_credentials()
    except BotoCoreError as error:
        raise NoCredentials(str(error)) from error
    if credentials is None and "AWS_BEARER_TOKEN_BEDROCK" not in os.environ:
        raise NoCredentials("no AWS credentials are configured")
    if not region:
        raise NoCredentials("no AWS region is configured: set AWS_REGION")
    # The variables and not the current keys, so that the functions can refresh temporary credentials.
    variables = {name: os.environ[name] for name in os.environ if name.startswith(CREDENTIALS) or name == "HOME"}
    return {**variables, "AWS_REGION": region, "AWS_DEFAULT_REGION": region}
