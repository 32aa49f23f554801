"""Starts the runtime client with the function's code and layers, like /var/runtime/bootstrap.py on Lambda.

An exec wrapper gets the path of this file as its second argument. It may run it or start another runtime.
"""

import os
import sys

root = os.environ["LAMBDA_TASK_ROOT"]
opt = os.environ["LOCAL_STACK_OPT"]  # on Lambda: /opt
version = f"python{sys.version_info.major}.{sys.version_info.minor}"
sys.path[:1] = [root, f"{opt}/python/lib/{version}/site-packages", f"{opt}/python"]
sys.path.append(os.environ["LAMBDA_RUNTIME_DIR"])

from awslambdaric.__main__ import main  # noqa: E402 - needs the paths from above

main(["bootstrap.py", os.environ["_HANDLER"]])
