"""What /var/runtime/bootstrap.py is to a managed Python runtime: it finds the function's code and layers, and runs.

An exec wrapper gets the path of this file as its second argument, and may run it or start a runtime of its own.
"""

import os
import sys

root = os.environ["LAMBDA_TASK_ROOT"]
opt = os.environ["LOCAL_STACK_OPT"]  # on Lambda: /opt
version = f"python{sys.version_info.major}.{sys.version_info.minor}"
sys.path[:1] = [root, f"{opt}/python/lib/{version}/site-packages", f"{opt}/python"]
sys.path.append(os.environ["LAMBDA_RUNTIME_DIR"])

from awslambdaric.__main__ import main  # noqa: E402 - the path to it is set above

main(["bootstrap.py", os.environ["_HANDLER"]])
