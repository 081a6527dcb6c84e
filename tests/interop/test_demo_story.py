"""`ebsim demo` from end to end: the documented figures, and nothing left behind."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ebsim.units import BLOCK_SIZE, GIB

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("mke2fs", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None,
        reason="needs e2fsprogs",
    ),
]


def run_demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ebsim", "demo", *options],
        env={
            "PATH": "/usr/bin:/bin",  # mke2fs is in a folder that users without root do not search
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PYTHONPATH": str(REPOSITORY),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.fixture(scope="module")
def document(fast_module_path: Path) -> Any:
    """The JSON document of one run."""
    done = run_demo(fast_module_path, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert list(fast_module_path.iterdir()) == []
    return json.loads(done.stdout)


def test_the_real_image_is_restored_to_the_byte(document: Any) -> None:
    image = document["Image"]
    assert image["ComparedSizeInBytes"] == image["SizeInBytes"]
    assert image["SizeInBytes"] >= GIB // 4
    assert image["Second"]["ParentSnapshotId"] == image["First"]["SnapshotId"]
    assert 0 < image["Second"]["ChargedSizeInBytes"] < image["First"]["ChargedSizeInBytes"]
    after = image["SecondAfterDeletion"]
    assert after["ChargedSizeInBytes"] == after["FullSnapshotSizeInBytes"]
    moved, freed = (image["Deletion"][name] for name in ("MovedSizeInBytes", "FreedSizeInBytes"))
    assert moved + freed == image["First"]["ChargedSizeInBytes"]
    assert moved + image["Second"]["ChargedSizeInBytes"] == after["ChargedSizeInBytes"]
    assert image["Check"]["Healthy"]
    assert image["Stats"]["ChargedSizeInBytes"] == after["ChargedSizeInBytes"]


def test_the_example_has_the_documented_figures(document: Any) -> None:
    figures = [
        {
            snapshot["Name"]: (
                snapshot["ChargedBlocks"],
                {reference["Name"]: reference["Blocks"] for reference in snapshot["RefersTo"]},
            )
            for snapshot in state["Snapshots"]
        }
        for state in document["Example"]["States"]
    ]
    assert figures == [
        {"A": (20480, {})},
        {"A": (20480, {}), "B": (8192, {"A": 12288})},
        {"A": (20480, {}), "B": (8192, {"A": 12288}), "C": (4096, {"A": 12288, "B": 8192})},
        {"B": (20480, {}), "C": (4096, {"B": 20480})},
    ]
    totals = [state["ChargedSizeInBytes"] // GIB for state in document["Example"]["States"]]
    assert totals == [10, 14, 16, 12]
    last = document["Example"]["States"][-1]
    assert last["FreedSizeInBytes"] == 4 * GIB
    assert last["Moved"] == [
        {"From": "A", "To": "B", "Blocks": 12288, "SizeInBytes": 12288 * BLOCK_SIZE}
    ]
