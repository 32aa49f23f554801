"""`make build` says what is in the layers."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("layer", ["converse_stream", "streaming_runtime"])
def test_a_layer_s_bill_is_its_lock_file(layer: str, tmp_path: Path) -> None:
    bill = tmp_path / f"{layer}.json"
    subprocess.run(["make", "-s", f"SBOM={tmp_path}", bill], cwd=ROOT, check=True)
    written = json.loads(bill.read_text(encoding="utf-8"))
    assert written["bomFormat"] == "CycloneDX"
    components = {(each["name"], each["version"]) for each in written["components"]}
    locked = (ROOT / f"requirements/{layer}.txt").read_text(encoding="utf-8")
    assert components == set(re.findall(r"^([\w.-]+)==([\w.]+)", locked, re.MULTILINE))
    assert all(each["externalReferences"][0]["hashes"] for each in written["components"])


def test_a_build_writes_one_for_each_layer() -> None:
    layers = re.findall(r"LOCK := (\w+)\.txt", (ROOT / "layers/make/layer.mk").read_text(encoding="utf-8"))
    build = re.search(r"^build:.*", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert build is not None
    assert set(re.findall(r"\$\(SBOM\)/(\w+)\.json", build[0])) == set(layers)
