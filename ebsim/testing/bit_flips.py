"""Flipping bits of a small store one at a time, and judging what comes of it.

Each flip is judged in a child process, so that one which kills its process is a verdict like any
other. The child does many flips, one after the other, and says each verdict at once.
"""

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path

from ebsim.engine import Seams, Store
from ebsim.errors import EbsimError
from ebsim.results import SnapshotState
from ebsim.testing.damage import flip_bit, vouch_for_catalog
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.tiering import StorageTier
from ebsim.units import block_count

PATIENCE_S = 120
"""How long one flip may take; a process that hangs is stopped and counts as one that died."""


class Verdict(Enum):
    """What came of a flipped bit.

    Attributes:
        REFUSED: The store was not opened, or an operation ended with an error of ebsim's.
        FOUND: `check` with data named it.
        REBUILT: The catalog was made again when the store was opened, and every answer that a
            rebuild can give is as it was.
        HARMLESS: Nothing was found, and every answer is as it was: nothing uses the bit.
        SILENT: Nothing was found, and an answer is another one.
        WRONG: A block was returned with other bytes.
        CRASHED: Something else than an error of ebsim's was raised.
        DIED: The process was ended by a signal, or hung.
    """

    REFUSED = b"r"
    FOUND = b"f"
    REBUILT = b"b"
    HARMLESS = b"h"
    SILENT = b"s"
    WRONG = b"w"
    CRASHED = b"c"
    DIED = b"d"


class StoreAnswers:
    """All that a store says, to be compared with what it says later.

    Args:
        store: An open store; small, since every block is read.
    """

    def __init__(self, store: Store) -> None:
        snapshots = store.list_snapshots()
        self.events = store.events()
        self.said = (
            snapshots,
            store.ledger(),
            store.tags.list(),
            store.quotas,
            [store.snapshot_history(shown.snapshot_id) for shown in snapshots],
            [store.permissions.describe(shown.snapshot_id) for shown in snapshots],
            store.tiers.describe(),
            store.recycle_bin.rules.list(),
            store.recycle_bin.snapshots(),
        )
        self.blocks = {
            (shown.snapshot_id, index): store.read_block(shown.snapshot_id, index)
            for shown in snapshots
            if shown.state is SnapshotState.COMPLETED and shown.storage_tier is StorageTier.STANDARD
            for index in range(block_count(shown.size_bytes))
        }


def open_for_flips(path: Path) -> Store:
    """Open a store with seams that are always the same."""
    return Store.open(path, Seams(clock=ManualClock(), entropy=SeededEntropy(7)))


def judge(path: Path, expected: StoreAnswers) -> Verdict:
    """Use a store as its user would, and compare all that it says."""
    try:
        with open_for_flips(path) as store:
            if not store.check(data=True).healthy:
                return Verdict.FOUND if _blocks_are_right(store, expected) else Verdict.WRONG
            found = StoreAnswers(store)
        return _compared(found, expected, rebuilt=any(path.glob("catalog.old-*")))
    except EbsimError:
        return Verdict.REFUSED
    except Exception:  # noqa: BLE001 - that is a verdict
        return Verdict.CRASHED


def _compared(found: StoreAnswers, expected: StoreAnswers, *, rebuilt: bool) -> Verdict:
    if found.blocks != expected.blocks:
        return Verdict.WRONG
    if found.said != expected.said or (found.events != expected.events and not rebuilt):
        return Verdict.SILENT
    return Verdict.REBUILT if rebuilt else Verdict.HARMLESS


def _blocks_are_right(store: Store, expected: StoreAnswers) -> bool:
    """Return whether each block is what it was, or an error."""
    for (snapshot_id, index), content in expected.blocks.items():
        try:
            if store.read_block(snapshot_id, index) != content:
                return False
        except EbsimError:
            continue
    return True


def judge_flips(
    store: Path, name: str, bits: Iterable[int], expected: StoreAnswers
) -> dict[int, Verdict]:
    """Flip bits of one file of a store, each in a store that is whole otherwise.

    Args:
        store: A closed store, which is left as it was.
        name: The file, within the store.
        bits: Which bits, as `flip_bit` numbers them.
        expected: What the store says.
    """
    scratch = store.with_name(f"{store.name}-flipped")
    verdicts: dict[int, Verdict] = {}
    left = list(bits)
    while left:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(store, scratch)
        vouch_for_catalog(scratch)
        done = in_child(lambda todo=left: _flip_each(store, scratch, name, todo, expected))  # type: ignore[misc]
        verdicts.update(zip(left, done, strict=False))
        left = left[len(done) :]
        if left:
            verdicts[left.pop(0)] = Verdict.DIED
    shutil.rmtree(scratch, ignore_errors=True)
    return verdicts


def tally(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """Return how often there was each verdict, by name."""
    return {verdict.name: number for verdict, number in Counter(verdicts).items()}


def _flip_each(
    store: Path, scratch: Path, name: str, bits: list[int], expected: StoreAnswers
) -> "Iterable[Verdict]":
    for bit in bits:
        flip_bit(scratch / name, bit)
        yield judge(scratch, expected)
        put_back(store, scratch)


def put_back(store: Path, scratch: Path) -> None:
    """Make a copy of a store what it was: as if its catalog had just been closed.

    Its reserve stays: copying it would take more time than all else.
    """
    for path in scratch.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "reserve":
            path.unlink()
    shutil.copytree(store, scratch, dirs_exist_ok=True, ignore=shutil.ignore_patterns("reserve"))
    vouch_for_catalog(scratch)


def in_child(work: Callable[[], Iterable[Verdict]]) -> list[Verdict]:
    """Return the verdicts that a child process gives until it is done, or dies."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(PATIENCE_S)
            for verdict in work():
                os.write(writing, verdict.value)
                signal.alarm(PATIENCE_S)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return [Verdict(bytes([letter])) for letter in said]
