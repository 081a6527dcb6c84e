"""Programs run by forking behave as with an interpreter of their own; so do remembered hashes."""

import subprocess
import sys
from pathlib import Path

from ebsim.core import open_domains
from ebsim.format.block_hash import hash_block
from ebsim.testing.forked_programs import ProgramServer
from ebsim.testing.remembered_hashes import remembered_hashes
from ebsim.units import BLOCK_SIZE

PROGRAM = """
import os, sys
what = sys.argv[1]
print(what, os.getcwd(), os.environ["WHO"], sys.stdin.read(), sys.stdout.isatty(), __name__)
print("to the user \\N{SNOWMAN}", file=sys.stderr)
if what == "status":
    sys.exit(7)
if what == "message":
    sys.exit("that failed")
if what == "raise":
    raise ValueError("oh")
"""


def test_what_is_forked_is_what_is_started(fast_path: Path) -> None:
    (fast_path / "shown.py").write_text(PROGRAM)
    variables = {"WHO": "you", "PYTHONPATH": str(fast_path), "LC_ALL": "C.UTF-8"}
    with ProgramServer(fast_path / "server", []) as server:
        script = fast_path / "run"
        server.write_command("runpy", script)
        assert script.stat().st_mode & 0o111
        for what in ("nothing", "status", "message", "raise"):
            told = []
            for command in ([sys.executable, "-m", "shown"], server.command("shown")):
                done = subprocess.run(
                    [*command, what],
                    cwd=fast_path,
                    env=variables,
                    input="typed",
                    capture_output=True,
                    text=True,
                    check=False,
                )
                told.append((done.returncode, done.stdout, done.stderr.splitlines()[-1]))
            assert told[0] == told[1]


def test_a_remembered_hash_is_the_hash() -> None:
    one, other = bytes(BLOCK_SIZE), b"x" * BLOCK_SIZE
    keys = bytes(32), b"k" * 32
    with remembered_hashes():
        domains = [open_domains.Domain(number, key, None) for number, key in enumerate(keys)]
        for _ in range(2):
            for block in (one, other, bytearray(other), memoryview(one)):
                for domain, key in zip(domains, keys, strict=True):
                    assert domain.hash_block(block) == hash_block(block, key)
