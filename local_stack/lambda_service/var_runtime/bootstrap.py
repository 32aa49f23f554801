"""Starts the runtime client with the function's code and layers, like /var/runtime/bootstrap.py on Lambda.

An exec wrapper gets the path of this file as its second argument. It may run it or start another runtime.
"""

import os
import site
import sys

from awslambdaric.__main__ import main

opt = os.environ["LOCAL_STACK_OPT"]  # on Lambda: /opt
folders = [os.environ["LAMBDA_TASK_ROOT"]]
if "PYTHONPATH" not in os.environ:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folders += [f"{opt}/python/lib/{version}/site-packages", f"{opt}/python"]
    os.environ["PYTHONPATH"] = os.environ["LAMBDA_RUNTIME_DIR"]  # for child processes
sys.path[:0] = folders
for folder in folders:
    site.addsitedir(folder)  # reads its .pth files

main(["bootstrap.py", os.environ["_HANDLER"]])
