"""Asking about a catalog that nobody vouches for: in a child process, which may die of it.

The child is a new process and no fork, so that it has nothing of ours, and an LMDB of its own.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ebsim.errors import StoreError
from ebsim.format.catalog_values import Table, parse_number_key
from ebsim.storage import catalog_prover

if TYPE_CHECKING:
    import subprocess

PATIENCE_S = 60.0
"""How long the child may take for nothing; it has more for a large catalog."""

SLOWEST_BYTES_PER_S = 1 << 20
"""A child that reads fewer bytes a second than this hangs. Measured in memory: 80 MB/s."""


@dataclass(frozen=True, slots=True)
class CatalogProof:
    """What the child found.

    Attributes:
        damage: What is wrong; empty for a catalog that is whole.
        commit: The number of the last commit.
        sequence: The number of the next entry of the journal; None where the catalog has none.
        store_id: The store it belongs to, None where it does not say so.
    """

    damage: tuple[str, ...]
    commit: int = 0
    sequence: int | None = None
    store_id: bytes | None = None


def patience_for(path: Path) -> float:
    """Return how many seconds the child may take for the catalog in a folder."""
    try:
        return PATIENCE_S + (path / "data.mdb").stat().st_size / SLOWEST_BYTES_PER_S
    except OSError:
        return PATIENCE_S


def prove_catalog(
    path: Path, told: Callable[[float], None] | None = None, patience_s: float | None = None
) -> CatalogProof:
    """Prove every value and page of the catalog in a folder; nobody may write to it meanwhile.

    Args:
        path: The folder.
        told: Called now and then with the part that is done.
        patience_s: After so many seconds the child hangs; None: as long as the size asks for.

    Raises:
        StoreError: No child can be started.
    """
    order = {"do": "prove", "path": str(path), "tables": [table.value.decode() for table in Table]}
    answer, ending = _ask(order, told, patience_for(path) if patience_s is None else patience_s)
    if ending:
        return CatalogProof((f"the process that read it {ending}",))
    sequence, store = answer.get("sequence"), answer.get("store")
    return CatalogProof(
        damage=tuple(answer["damage"]),
        commit=int(answer["commit"]),
        sequence=None if sequence is None else parse_number_key(bytes.fromhex(sequence)),
        store_id=None if store is None else bytes.fromhex(store),
    )


def look_for_commit(path: Path, commit: int, patience_s: float | None = None) -> bool | None:
    """Look in a new process whether a commit is in the catalog, and make that last.

    The caller holds the lock of commits.

    Returns:
        Whether it is there; None where that cannot be said for sure.
    """
    order = {"do": "settle", "path": str(path), "commit": commit}
    try:
        answer, _ = _ask(order, None, patience_for(path) if patience_s is None else patience_s)
    except StoreError:
        return None
    return bool(answer["happened"]) if answer.get("settled") else None


def _ask(
    order: dict[str, Any], told: Callable[[float], None] | None, patience_s: float
) -> tuple[dict[str, Any], str]:
    """Return what the child said last, and how it ended where that was no good end."""
    import subprocess
    import threading

    order = {**order, "imports": [entry for entry in sys.path if entry]}
    command = [sys.executable, "-I", "-S", "-B", catalog_prover.__file__, json.dumps(order)]
    try:
        child = subprocess.Popen(  # noqa: S603 - our own program, with our own interpreter
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError as error:
        raise StoreError(f"no process can be started to prove the catalog: {error}") from error
    hung = threading.Event()

    def give_up() -> None:
        hung.set()
        child.kill()

    watchdog = threading.Timer(patience_s, give_up)
    watchdog.daemon = True
    watchdog.start()
    try:
        assert child.stdout is not None
        answer = _listen(child.stdout, told)
        child.wait()
    finally:
        watchdog.cancel()
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
    return answer, _ending(child, hung=hung.is_set())


def _listen(pipe: IO[bytes], told: Callable[[float], None] | None) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    for line in pipe:
        said = json.loads(line) if line.endswith(b"\n") else {}
        if "progress" in said:
            if told is not None:
                told(float(said["progress"]))
        else:
            answer = said
    return answer


def _ending(child: "subprocess.Popen[bytes]", *, hung: bool) -> str:
    if child.returncode == 0:
        return ""
    if hung:
        return "did not come to an end"
    if child.returncode < 0:
        return f"died of {signal.Signals(-child.returncode).name}"
    return f"failed with exit code {os.waitstatus_to_exitcode(child.returncode << 8)}"
