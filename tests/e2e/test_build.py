"""Artifacts of `sam build` for both architectures, built without Docker on a machine of either."""

import os
import platform
import re
import struct
import subprocess
from pathlib import Path

import pytest

from local_stack.emulator import ARCHITECTURES, SAM
from local_stack.lambda_service.sandbox import interpreter

# Tests that use all processors run one after the other.
pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("processor")]

ROOT = Path(__file__).parents[2]
LAYERS = ["StreamingRuntimeLayer", "ChatLayer"]
PACKAGES = {"StreamingRuntimeLayer": "streaming-runtime", "ChatLayer": "python"}
ELF_MACHINES = {"arm64": 183, "x86_64": 62}  # e_machine, as elf.h numbers them
LIMIT = 30 * 1000 * 1000  # bytes, all layers and functions unzipped, without cryptography
CRYPTOGRAPHY_LIMIT = 16 * 1000 * 1000
UNCHECKED_HASH = 1  # the flags of such a .pyc (PEP 552)
WITHOUT_TARGET = interpreter("python3.13") is None


@pytest.fixture(scope="module", params=ELF_MACHINES)
def architecture(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def artifacts(architecture: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(architecture) / "build"
    built = subprocess.run(
        [SAM / "bin/sam", "build", "--build-dir", folder, "--parameter-overrides", f"Architecture={architecture}"],
        cwd=ROOT,
        env={**os.environ, "SAM_CLI_TELEMETRY": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_machine_code_is_for_the_architecture(artifacts: Path, architecture: str) -> None:
    libraries = [*artifacts.rglob("*.so")]
    assert {path.relative_to(artifacts).parts[0] for path in libraries} == set(LAYERS)
    for library in libraries:
        assert "cpython-313" in library.name or library.name.endswith(".abi3.so")
        magic, machine = struct.unpack_from("<4s14xH", library.read_bytes())
        assert (magic, machine) == (b"\x7fELF", ELF_MACHINES[architecture]), library.name


def test_the_artifacts_are_within_the_size_limit(artifacts: Path) -> None:
    cryptography = size(artifacts / "ChatLayer/python/cryptography")
    assert 0 < cryptography <= CRYPTOGRAPHY_LIMIT
    assert size(artifacts) - cryptography <= LIMIT


def test_functions_contain_only_their_own_modules(artifacts: Path) -> None:
    for name, source in {"StreamFunction": "stream", "ConverseFunction": "converse"}.items():
        assert files(artifacts / name) == sorted(path.name for path in (ROOT / "functions" / source).glob("*.py"))


def test_only_packages_and_the_wrapper_are_in_opt(artifacts: Path) -> None:
    layers = {name: sorted(entry.name for entry in (artifacts / name).iterdir()) for name in LAYERS}
    assert layers == {"StreamingRuntimeLayer": ["streaming-bootstrap", "streaming-runtime"], "ChatLayer": ["python"]}
    assert os.access(artifacts / "StreamingRuntimeLayer/streaming-bootstrap", os.X_OK)


def test_all_source_files_are_in_the_layers(artifacts: Path) -> None:
    for layer, package in {"StreamingRuntimeLayer": "streaming_runtime", "ChatLayer": "converse_stream"}.items():
        source = ROOT / "layers" / package / package
        required = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
        required = {name for name in required if not re.search(r"__pycache__|py\.typed", name)}
        assert required <= set(files(artifacts / layer / PACKAGES[layer] / package))


def test_no_unused_files_are_in_the_layers(artifacts: Path) -> None:
    unused = re.compile(r"(^|/)(Makefile|README\.md|requirements.*|tests|bin|[^/]*\.dist-info|[^/]*\.pyi|\.lock)(/|$)")
    assert not [name for layer in LAYERS for name in files(artifacts / layer) if unused.search(name)]


CHECK = """
import sys
sys.path.insert(0, sys.argv[1])
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
keys = {"RS256": rsa.generate_private_key(65537, 2048), "ES256": ec.generate_private_key(ec.SECP256R1())}
for algorithm, key in keys.items():
    assert jwt.decode(jwt.encode({"sub": "alice"}, key, algorithm), key.public_key(), [algorithm]) == {"sub": "alice"}
assert jwt.__file__.startswith(sys.argv[1])
"""


@pytest.mark.skipif(WITHOUT_TARGET, reason="python3.13 is not installed")
def test_the_reduced_packages_check_signatures(artifacts: Path, architecture: str) -> None:
    if architecture != ARCHITECTURES[platform.machine()]:
        pytest.skip("the machine code is for another processor")
    python = [str(interpreter("python3.13")), "-S", "-W", "error"]
    subprocess.run([*python, "-c", CHECK, artifacts / "ChatLayer/python"], check=True, timeout=60)


def test_botocore_has_only_the_used_services(artifacts: Path) -> None:
    data = artifacts / "ChatLayer/python/botocore/data"
    services = {entry.name for entry in data.iterdir() if entry.is_dir()}
    assert services == {"appconfigdata", "bedrock-agent-runtime", "bedrock-runtime", "dynamodb", "sts"}


@pytest.mark.skipif(WITHOUT_TARGET, reason="python3.13 is not installed")
def test_every_module_is_compiled_with_unchecked_hash(artifacts: Path) -> None:
    """unchecked-hash: Lambda's /opt cannot be written, and its modification times are not those of the build."""
    for layer in LAYERS:
        for source in (artifacts / layer).rglob("*.py"):
            compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
            content = compiled.read_bytes()
            assert struct.unpack_from("<4xI", content) == (UNCHECKED_HASH,), source
            on_lambda = f"/opt/{source.relative_to(artifacts / layer)}".encode()
            assert on_lambda in content  # the path in tracebacks
            assert str(artifacts).encode() not in content


def test_a_build_without_the_target_interpreter_ships_sources_and_prints_a_notice(tmp_path: Path) -> None:
    makefile = ROOT / "layers/make/x86_64/Makefile"
    build = subprocess.run(
        ["make", "--makefile", makefile, "build-StreamingRuntimeLayer", f"ARTIFACTS_DIR={tmp_path}", "TARGET_PYTHON="],
        cwd=ROOT / "layers/streaming_runtime",
        capture_output=True,
        text=True,
        check=False,
    )
    assert build.returncode == 0, build.stderr
    assert "No python3.13 here to compile StreamingRuntimeLayer" in build.stdout
    assert not [*tmp_path.rglob("*.pyc")]
    assert (tmp_path / "streaming-runtime/awslambdaric/bootstrap.py").exists()
