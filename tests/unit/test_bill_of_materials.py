"""`make build` writes a bill of materials for each layer."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("layer", ["converse_stream", "streaming_runtime"])
def test_bill_of_materials_lists_the_packages_of_the_lock_file(layer: str, tmp_path: Path) -> None:
    bill = tmp_path / f"{layer}.json"
    subprocess.run(["make", "-s", f"SBOM={tmp_path}", bill], cwd=ROOT, check=True)
    written = json.loads(bill.read_text(encoding="utf-8"))
    assert written["bomFormat"] == "CycloneDX"
    components = {(component["name"], component["version"]) for component in written["components"]}
    locked = (ROOT / f"requirements/{layer}.txt").read_text(encoding="utf-8")
    assert components == set(re.findall(r"^([\w.-]+)==([\w.]+)", locked, re.MULTILINE))
    assert all(component["externalReferences"][0]["hashes"] for component in written["components"])


def test_build_writes_a_bill_of_materials_for_each_layer() -> None:
    layers = re.findall(r"LOCK := (\w+)\.txt", (ROOT / "layers/make/layer.mk").read_text(encoding="utf-8"))
    build = re.search(r"^build:.*", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert build is not None
    assert set(re.findall(r"\$\(SBOM\)/(\w+)\.json", build[0])) == set(layers)
