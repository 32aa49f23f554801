"""The import path of the function: the folders of Lambda's bootstrap.py, in its order."""

import os
import site
import sys


def use_path_of_lambda(runtime: str) -> None:
    """Replaces `runtime`, the folder of this layer's packages, at the start of sys.path by the function's folders.

    `runtime` follows them. The .pth files of the function and of /opt/python are read. As on Lambda, the folders of
    /opt/python are left out if PYTHONPATH is set.
    """
    function, python = os.environ.get("LAMBDA_TASK_ROOT", os.getcwd()), f"{os.path.dirname(runtime)}/python"
    lambda_runtime = os.environ.get("LAMBDA_RUNTIME_DIR")
    folders, packages = [function], []
    if "PYTHONPATH" not in os.environ:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        folders += [f"{python}/lib/{version}/site-packages", python]
        packages = site.getsitepackages()[:1]
        if lambda_runtime:
            os.environ["PYTHONPATH"] = lambda_runtime  # for child processes
    sys.path.remove(runtime)
    sys.path[:0] = [*folders, *packages, runtime, *([lambda_runtime] if lambda_runtime else [])]
    for folder in folders:
        site.addsitedir(folder)
