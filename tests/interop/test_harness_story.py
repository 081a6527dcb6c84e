"""The harness that docs/harness.md shows: its programs, run by pytest as a user's tests are."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = (REPOSITORY / "docs" / "harness.md").read_text(encoding="utf-8")
PROGRAM = "\n\n".join(re.findall(r"(?ms)^```python\n(.*?)^```$", DOCUMENT))
PLUGIN = "ebsim.testing.pytest_plugin"

pytestmark = pytest.mark.slow


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of a folder, with no plugin but ebsim's, as if that were installed."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", PLUGIN, "-W", "error", *options, str(folder)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_tests_of_the_document_pass(fast_path: Path) -> None:
    (fast_path / "test_shown.py").write_text(PROGRAM)

    done = run_pytest(fast_path)

    assert done.returncode == 0, done.stdout + done.stderr
    count = len(re.findall(r"(?m)^def test_", PROGRAM))
    assert count >= 8
    assert f"{count} passed" in done.stdout


def test_harness_has_twenty_lines_or_fewer() -> None:
    first = re.search(r"(?ms)^```python\n(.*?)^```$", DOCUMENT)

    assert first is not None
    assert len([line for line in first[1].splitlines() if line]) <= 20


def test_fixtures_are_shown_with_what_they_are(fast_path: Path) -> None:
    (fast_path / "test_none.py").write_text("")

    shown = run_pytest(fast_path, "--fixtures").stdout

    listed = re.findall(r"(?m)^\| `(ebsim_\w+)` \|", DOCUMENT)
    assert sorted(listed) == sorted(re.findall(r"(?m)^(ebsim_\w+)", shown))
