"""What the wire tests share."""

import platform
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MACHINES = {"x86_64": "x86_64", "aarch64": "arm64"}


@pytest.fixture(scope="session")
def emulator_binary() -> Path:
    """AWS's Runtime Interface Emulator, which comes with the SAM CLI."""
    name = f"aws-lambda-rie-{MACHINES.get(platform.machine(), 'none')}"
    found = sorted(ROOT.glob(f".venv-sam/lib/python3.*/site-packages/samcli/local/rapid/{name}"))
    if not found:
        pytest.skip("the SAM CLI is not installed in .venv-sam")
    return found[0]
