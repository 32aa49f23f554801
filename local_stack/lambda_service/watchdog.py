"""`python -m local_stack.guard FOLDER`: cleans up behind a stack, also one that was killed.

Reads `+<process group>` and `-<process group>` lines. At the end of its input, which the kernel brings about however
the stack ended, it kills the groups that are left and removes the folder.
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
