"""Forked children are processes of their own, and nothing of one is left."""

import os
import signal
from pathlib import Path

import pytest

from ebsim.testing.forked_process import ForkedProcess, run_script, start_script
from ebsim.testing.traced_disk import strace_is_missing

CHANCE = "import os, random; print(random.random(), os.urandom(8).hex(), os.getpid())"
TALK = "import sys\nfor line in sys.stdin: print(line.strip()[::-1], flush=True)"


def is_there(pid: int) -> bool:
    """Whether a process is there that is not dead already."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_status_and_output_are_told() -> None:
    script = "import sys; print(sys.argv[1]); sys.exit(int(sys.argv[2]))"

    assert run_script(script, "told", "7") == (7, "told\n")
    assert run_script("import os; print('a', flush=True); os.kill(os.getpid(), 9)") == (-9, "a\n")


def test_child_is_talked_to_and_ends_when_nobody_does_any_more() -> None:
    with start_script(TALK) as child:
        for word in ("abc", "def"):
            child.stdin.write(f"{word}\n")
            assert child.stdout.readline() == f"{word[::-1]}\n"
        child.stdin.close()
        assert child.wait() == 0


def test_no_two_have_the_same_random_bytes() -> None:
    told = [run_script(CHANCE)[1].split() for _ in range(3)]

    for each in zip(*told, strict=True):
        assert len(set(each)) == 3


def test_child_has_no_file_of_another_and_no_thread() -> None:
    """Nor has it a catalog, which must not be used across a fork."""
    script = (
        "import os\n"
        "for each in os.listdir('/proc/self/fd'):\n"
        "    try: print(os.readlink(f'/proc/self/fd/{each}'))\n"
        "    except FileNotFoundError: pass\n"
        "print(open('/proc/self/maps').read())\n"
        "print('tasks', os.listdir('/proc/self/task') == [str(os.getpid())])"
    )
    with start_script(TALK) as other, open(__file__, "rb"):
        theirs = {
            f"pipe:[{os.fstat(each.fileno()).st_ino}]" for each in (other.stdin, other.stdout)
        }
        _, told = run_script(script)

    lines = told.splitlines()
    assert not theirs & set(lines)
    assert __file__ not in lines
    assert "data.mdb" not in told
    assert lines[-1] == "tasks True"


def test_nothing_is_left_of_one_that_hangs() -> None:
    with start_script("import time; time.sleep(1000)") as child:
        assert is_there(child.pid)
        pid = child.pid

    assert not is_there(pid)


def test_patience_has_an_end() -> None:
    with ForkedProcess(signal.pause, patience_s=0.05) as child:
        assert child.wait() == -signal.SIGKILL


@pytest.mark.skipif(strace_is_missing() is not None, reason="strace is not installed")
def test_strace_sees_all_that_a_child_does_and_no_import(tmp_path: Path) -> None:
    strace = ["-f", "-o", str(tmp_path / "log"), "-e", "trace=mkdir,openat"]

    status, _ = run_script(
        "import os, sys; os.mkdir(sys.argv[1])", str(tmp_path / "a"), strace=strace
    )

    log = (tmp_path / "log").read_text()
    assert status == 0
    assert f'mkdir("{tmp_path}/a", 0777) = 0' in log
    assert "ebsim" not in log
