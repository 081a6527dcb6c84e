"""The soak itself works: a few seconds of it, as `make soak` runs it for minutes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["volumes", "processes"])
def test_few_seconds_find_nothing(variant: str, fast_path: Path) -> None:
    script = REPOSITORY / "tests" / "soak" / "soak.py"
    options = ["--seconds", "2", "--seed", "11", "--only", variant, "--work", str(fast_path)]

    done = subprocess.run(
        [sys.executable, str(script), *options],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"(?m)^ +[1-9][\d,]*  .*looked at again at the end$", done.stdout)
    assert list(fast_path.iterdir()) == []
