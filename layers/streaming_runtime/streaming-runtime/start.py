"""The script that the interpreter runs instead of Lambda's bootstrap.py. Its folder has all packages of the runtime."""

import os
import sys

folder = os.path.dirname(os.path.abspath(__file__))
if not sys.flags.safe_path:
    del sys.path[0]  # the folder of this script, or of the file that it is a link to
sys.path.insert(0, folder)

from streaming_runtime.__main__ import start  # noqa: E402 - needs the path from above

start(folder)
