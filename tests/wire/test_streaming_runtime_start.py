"""The start of the streaming runtime: import path, versions of awslambdaric, exec wrappers. Real processes."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from local_stack import template
from local_stack.lambda_service import sandbox
from tests.wire.runtime_api import LAMBDA_BOOTSTRAP, ROOT, WAIT_SECONDS, Invocation, Runtime, RuntimeApi, run

URL = {"version": "2.0", "requestContext": {"domainName": "abc.lambda-url.us-east-1.on.aws"}}
RESULT = "def handler(event, context): return "
STREAMED = "from streaming_runtime import StreamingResponse\n" + RESULT + "StreamingResponse([b'hello'])"

# Import path


@pytest.mark.parametrize(
    "variables", [{}, {"PYTHONPATH": "/mnt/vendored"}], ids=["without-pythonpath", "with-pythonpath"]
)
def test_the_import_path_is_that_of_lambda(tmp_path: Path, variables: dict[str, str]) -> None:
    """.pth files included. The folder of the runtime comes after the function's folders."""
    handler = "import json, os, sys\n" + RESULT + "[sys.path, os.environ['PYTHONPATH']]"
    files = {
        "var task/function.pth": "vendored\n",
        "var task/vendored/of_function.py": "",
        "opt/python/layer.pth": "vendored\n",
        "opt/python/vendored/of_layer.py": "",
    }
    paths = {}
    for plain in (True, False):
        folder = tmp_path / str(plain)
        api, _ = run(folder, handler, Invocation({}), variables=variables, files=files, plain=plain)
        found, child = json.loads(api.posts[0].body)
        packages = [*dict.fromkeys(entry.replace(str(folder), "") for entry in found)]
        paths[plain] = packages, child
    ours, ours_child = paths[False]
    ours.remove("/opt/streaming-runtime")
    lambdas, lambdas_child = paths[True]
    if not variables:
        assert "/opt/python/vendored" in ours
        for path in paths.values():  # Lambda has the interpreter's packages before /var/runtime, the local stack after
            path[0].remove(next(entry for entry in path[0] if entry.endswith("site-packages") and "/opt" not in entry))
    assert ours == lambdas
    assert "/var task/vendored" in ours
    assert ours_child == lambdas_child


def test_the_handler_imports_what_pth_files_name(tmp_path: Path) -> None:
    files = {
        "var task/function.pth": "vendored\nimport hooked\n",
        "var task/hooked.py": "import sys\nsys.hooked = True",
        "var task/vendored/of_function.py": "x = 1",
        "opt/python/layer.pth": "vendored\n",
        "opt/python/vendored/of_layer.py": "y = 2",
    }
    handler = "import sys, of_function, of_layer\n" + RESULT + "[of_function.x, of_layer.y, sys.hooked]"
    for plain in (True, False):
        api, _ = run(tmp_path / str(plain), handler, Invocation({}), files=files, plain=plain)
        assert json.loads(api.posts[0].body) == [1, 2, True]


# Versions of awslambdaric


def other_version(folder: str) -> dict[str, str]:
    """A copy of awslambdaric 3 that ends the process if it is used."""
    return {
        f"{folder}/awslambdaric/__init__.py": '__version__ = "3.0.0"',
        f"{folder}/awslambdaric/bootstrap.py": "import os; os._exit(9)",
        f"{folder}/awslambdaric/lambda_runtime_marshaller.py": "import os; os._exit(9)",
    }


@pytest.mark.parametrize("folder", ["var task", "opt/python"])
def test_another_awslambdaric_of_function_or_layer_is_not_used(tmp_path: Path, folder: str) -> None:
    files = other_version(folder) | {f"{folder}/streaming_runtime/__init__.py": "import os; os._exit(9)"}
    api, log = run(tmp_path, STREAMED, Invocation(URL), files=files)
    assert api.posts[0].payload == b"hello", log


@pytest.mark.parametrize(
    ("files", "found"),
    [
        pytest.param(other_version("opt/streaming-runtime"), "3.0.0 in ", id="version"),
        pytest.param(
            {"opt/streaming-runtime/runtime_client.py": "raise ImportError('wrong ELF class')"},
            "wrong ELF class",
            id="machine-code",
        ),
        pytest.param({"opt/streaming-runtime/awslambdaric.py": "import missing"}, "'missing'", id="not-importable"),
    ],
)
def test_an_unusable_awslambdaric_is_an_init_error(tmp_path: Path, files: dict[str, str], found: str) -> None:
    runtime = Runtime(tmp_path, STREAMED, {}, files=files)
    with RuntimeApi() as api, runtime.running(api.address) as process:
        assert process.wait(WAIT_SECONDS) == 1
    [post] = api.posts
    assert post.target == "/2018-06-01/runtime/init/error"
    assert post.headers["lambda-runtime-function-error-type"] == "Runtime.StreamingRuntimeError"
    message = json.loads(post.body)["errorMessage"]
    assert "needs awslambdaric 4.2.2" in message
    assert found in message
    assert message in runtime.log


def test_a_container_image_starts_the_package(tmp_path: Path) -> None:
    runtime = Runtime(tmp_path, STREAMED, {"PYTHONPATH": str(tmp_path / "opt" / "streaming-runtime")})
    runtime.command = [sys.executable, "-m", "streaming_runtime", "app.handler"]
    with RuntimeApi(Invocation(URL)) as api, runtime.running(api.address) as process:
        api.wait_until_idle(process)
    assert api.posts[0].payload == b"hello"


OPT_FOLDERS = {"streaming-runtime": ["start.py", "streaming_runtime"], "python": ["converse_stream"]}


def test_the_local_stack_starts_a_function_in_the_same_way(tmp_path: Path) -> None:
    """With the folders of its layers, and with another awslambdaric in the function's package."""
    function = template.read(ROOT / "template.yaml", {}).functions["StreamFunction"]
    (code := tmp_path / "code").mkdir()
    (code / "app.py").write_text(STREAMED)
    for name, content in other_version("awslambdaric").items():
        path = code / name.partition("/")[2]
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    box = sandbox.build(replace(function, code=code, handler="app.handler"), tmp_path / "box", {})
    opt = {name: sorted(path.name for path in (tmp_path / "box/opt" / name).iterdir()) for name in OPT_FOLDERS}
    assert opt == OPT_FOLDERS
    runtime = Runtime(tmp_path / "runtime", "", box.variables)
    runtime.command = [*box.command]
    with RuntimeApi(Invocation(URL)) as api, runtime.running(api.address) as process:
        api.wait_until_idle(process)
    assert api.posts[0].payload == b"hello"


# Exec wrappers

IN_FRONT = """#!/bin/sh
# As in AWS's documentation: adds options of the interpreter before the last argument, then starts the next wrapper.
exec "{opt}/streaming-bootstrap" "$1" -X utf8=0 -W "error::UserWarning:app" "$2"
"""
# As OpenTelemetry's: its packages and hooks through PYTHONPATH, and its own handler, which calls the function's.
OPENTELEMETRY = """#!/bin/sh
export PYTHONPATH="{opt}/python/hooks:{opt}/python:$LAMBDA_RUNTIME_DIR${PYTHONPATH:+:$PYTHONPATH}"
export ORIG_HANDLER="$_HANDLER" _HANDLER="otel_wrapper.lambda_handler"
exec python3 "{opt}/python/instrument.py" "$@"
"""
DATADOG = """#!/bin/sh
export DD_LAMBDA_HANDLER="$_HANDLER" _HANDLER="datadog_lambda.handler.handler" DD_TRACE_ENABLED=true
exec "$@"
"""
WRAPPING_HANDLER = """
import importlib, os, sys
module, name = os.environ["{variable}"].rsplit(".", 1)
def {function}(event, context):
    print("before")
    result = getattr(importlib.import_module(module), name)(event, context)
    print("after", hasattr(sys, "instrumented"))
    return result
"""
WRAPPERS = {
    "opt/otel-instrument": OPENTELEMETRY,
    "opt/python/instrument.py": "import os, sys\nos.execl(sys.argv[1], *sys.argv[1:])",
    "opt/python/hooks/sitecustomize.py": "import sys\nsys.instrumented = True",
    "opt/python/otel_wrapper.py": WRAPPING_HANDLER.format(variable="ORIG_HANDLER", function="lambda_handler"),
    "opt/datadog_wrapper": DATADOG,
    "opt/python/datadog_lambda/__init__.py": "",
    "opt/python/datadog_lambda/handler.py": WRAPPING_HANDLER.format(variable="DD_LAMBDA_HANDLER", function="handler"),
}


SENT_INSIDE = """
from streaming_runtime import StreamingResponse, send_inside
def body():
    print("body")
    yield b"hello"
@send_inside
def handler(event, context): return StreamingResponse(body())
"""


@pytest.mark.parametrize(
    ("wrapper", "instrumented"), [("otel-instrument", True), ("datadog_wrapper", False)], ids=["otel", "datadog"]
)
def test_a_second_exec_wrapper_runs_around_the_streamed_handler(
    tmp_path: Path, wrapper: str, instrumented: bool
) -> None:
    opt = tmp_path / "opt"
    files = {name: content.replace("{opt}", str(opt)) for name, content in WRAPPERS.items()}
    variables = {"STREAMING_RUNTIME_EXEC_WRAPPER": str(opt / wrapper)}
    api, log = run(tmp_path, SENT_INSIDE, Invocation(URL), variables=variables, files=files)
    assert api.posts[0].payload == b"hello"
    assert log.split() == ["before", "body", "after", str(instrumented)]


def test_options_of_a_wrapper_in_front_are_kept(tmp_path: Path) -> None:
    handler = (
        "import sys\nfrom streaming_runtime import StreamingResponse\n" + RESULT + "[sys.warnoptions, sys._xoptions]"
    )
    runtime = Runtime(tmp_path, handler, {}, files={"opt/front": IN_FRONT.replace("{opt}", str(tmp_path / "opt"))})
    runtime.command[0] = str(runtime.opt / "front")
    assert runtime.command[-1] == str(LAMBDA_BOOTSTRAP)
    with RuntimeApi(Invocation({})) as api, runtime.running(api.address) as process:
        api.wait_until_idle(process)
    assert json.loads(api.posts[0].body) == [["error::UserWarning:app"], {"utf8": "0"}]
