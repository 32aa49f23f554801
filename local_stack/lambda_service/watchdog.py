"""`python -m local_stack.lambda_service.watchdog FOLDER`: cleans up after the end of a stack, also after a crash.

Reads lines `+<process group>` and `-<process group>`. The kernel closes its input when the stack's process ends. Then
it kills the remaining groups and removes the folder.
"""

import os
import shutil
import signal
import sys


def main() -> None:
    groups: set[int] = set()
    for line in sys.stdin:
        change = groups.add if line[0] == "+" else groups.discard
        change(int(line[1:]))
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            continue
    shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
