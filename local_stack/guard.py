"""Ends the execution environments when the stack dies in a way that leaves it no time to.

Reads `+<process group>` and `-<process group>` lines; at the end of its input, which the kernel brings about however
the stack ended, it kills the groups that are left.
"""

import os
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


if __name__ == "__main__":
    main()
