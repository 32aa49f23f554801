"""Installs from uv's cache, so that a run needs no network if all packages are there."""

import os
import subprocess
from collections.abc import Callable
from typing import TypeVar
from unittest import mock

from local_stack.emulator import EmulatorError

T = TypeVar("T")


def offline_first(install: Callable[[], T]) -> T:
    """The result of `install`, which runs uv: without the network, or with it if that fails."""
    try:
        with mock.patch.dict(os.environ, UV_OFFLINE="1"):
            return install()
    except (EmulatorError, subprocess.CalledProcessError):
        return install()
