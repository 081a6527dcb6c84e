"""Damage to the catalog of a small store, one kind after the other, each in a store that is whole.

Opening the store must find it in a process that lives, make the catalog again from the segments,
and answer as before; or nothing may come of it, because nothing uses what was altered.
"""

import importlib
import logging
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ebsim.config import SnapshotOptions
from ebsim.engine import Seams, Store
from ebsim.permissions import PermissionChange
from ebsim.recycle_bin import RuleRequest, RuleResourceType
from ebsim.testing.bit_flips import StoreAnswers, Verdict, in_child, judge, put_back
from ebsim.testing.contents import HEAD, NOISE, TAIL, TEXT, noise_block
from ebsim.testing.damage import flip_bit
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import disk_of
from ebsim.testing.torture.campaign import Campaign, RunCase, Violation, case_random

DATABASE = Path("catalog") / "data.mdb"
LOCKS = Path("catalog") / "lock.mdb"
PAGE = 4096

FLIPS = 9
"""Bits that a case flips, one after the other, besides its other damage."""

NEEDED = (
    "subprocess",
    "ebsim.core.catalog_doubt",
    "ebsim.core.check",
    "ebsim.core.check_data",
    "ebsim.core.rebuild",
    "ebsim.core.reclaim",
    "ebsim.keys.keyring",
    "cryptography.hazmat.primitives.ciphers.aead",
    "cryptography.hazmat.primitives.kdf.hkdf",
)
"""What each child would import anew, and takes longer than all else."""

GOOD = frozenset({Verdict.REBUILT, Verdict.HARMLESS})


@dataclass(frozen=True, slots=True)
class _Made:
    """What all cases share.

    Attributes:
        store: A closed store, which is left as it was.
        older: Files that its catalog was at earlier times.
        expected: What the store says, without what a rebuild cannot bring back.
    """

    store: Path
    older: tuple[bytes, ...]
    expected: StoreAnswers


def build_store(path: Path) -> tuple[bytes, ...]:
    """Make a closed store with some of everything, and return its catalog at earlier times."""
    older: list[bytes] = []

    def remember(entropy: int) -> Store:
        if (path / DATABASE).exists():
            older.append((path / DATABASE).read_bytes())
        return Store.open(path, Seams(clock=ManualClock(), entropy=SeededEntropy(entropy)))

    Store.create(path, Seams(clock=ManualClock(), entropy=SeededEntropy())).close()
    disk = disk_of(NOISE, TEXT, HEAD[:1000])
    with remember(1) as store:
        first = store.create_snapshot(disk, SnapshotOptions(tags={"Name": "first"}))
    disk.put(1, TAIL)
    with remember(2) as store:
        store.create_snapshot(disk, SnapshotOptions(tags={"Name": "second"}))
    disk.put(0, noise_block(1))
    with remember(3) as store:
        third = store.create_snapshot(disk)
    with remember(4) as store:
        store.delete_snapshots([first.snapshot_id])
    with remember(5) as store:
        store.tags.create([third.snapshot_id], {"Name": "third"})
    with remember(6) as store:
        _furnish(store)
    return tuple(older)


def _furnish(store: Store) -> None:
    """Have something encrypted, shared, copied, archived and in the Recycle Bin."""
    key = store.keys.create(alias="alias/A").arn
    sealed = SnapshotOptions(encrypted=True, kms_key_id=key)
    disk = disk_of(NOISE, TEXT, name="memory:sealed")
    shared = store.create_snapshot(disk, sealed).snapshot_id
    store.permissions.modify(shared, PermissionChange(add=("111122223333",)))
    store.copy_snapshot(shared, options=sealed)
    store.as_account(region="eu-central-1").copy_snapshot(shared, store.caller.region)
    disk.put(1, TAIL)
    store.tiers.archive(store.create_snapshot(disk).snapshot_id)
    kind = RuleResourceType.EBS_SNAPSHOT
    store.recycle_bin.rules.create(RuleRequest(resource_type=kind, retention_days=7))
    disk.put(1, HEAD)
    store.delete_snapshots([store.create_snapshot(disk).snapshot_id])


class CatalogFlips(Campaign):
    """The campaign. A case makes one kind of coarse damage, and then flips bits one at a time.

    Args:
        cases: How many.
        sample: How many of them are tried in `make test`.
    """

    name = "catalog-flips"
    promise = (
        "damage to the catalog kills no process and alters no answer: it is found when the store "
        "is opened, and the catalog is made again"
    )
    excludes = "damage that leaves time and number of the file as they were; damage to segments too"

    def __init__(self, cases: int = 1112, sample: int = 6) -> None:
        self.cases = cases
        self.sample = sample

    @contextmanager
    def prepare(self, seed: int, folder: Path) -> Iterator[RunCase]:
        """Make the store, and return what damages its catalog."""
        for name in NEEDED:
            importlib.import_module(name)
        path = folder / "store"
        older = build_store(path)
        with Store.open(path) as store:
            made = _Made(path, older, StoreAnswers(store))

        def run_case(number: int) -> int:
            return _run(made, folder / "damaged", case_random(self.name, seed, number), number)

        yield run_case


def _run(made: _Made, scratch: Path, chosen: random.Random, number: int) -> int:
    data = (made.store / DATABASE).read_bytes()
    used = [at for at, byte in enumerate(data) if byte]
    bits = [8 * chosen.choice(used) + chosen.randrange(8) for _ in range(FLIPS)]
    kind = COARSE[number % len(COARSE)]
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(made.store, scratch)
    try:
        put_back(made.store, scratch)
        _judge(made, scratch, kind, _coarse(made, scratch, kind, chosen))
        for bit in bits:
            put_back(made.store, scratch)
            flip_bit(scratch / DATABASE, bit)
            _judge(made, scratch, "flipped bit", f"bit {bit}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return 1 + len(bits)


def _judge(made: _Made, scratch: Path, kind: str, where: str) -> None:
    """Use a store whose catalog was damaged, in a process that may die of it.

    Raises:
        Violation: It died, hung, refused the store, or answered something else than before.
    """

    def quietly() -> list[Verdict]:
        logging.disable(logging.WARNING)
        return [judge(scratch, made.expected)]

    verdicts = in_child(quietly)
    verdict = verdicts[0] if verdicts else Verdict.DIED
    if verdict not in GOOD:
        raise Violation(f"the catalog is damaged ({kind}, {where}): {verdict.name}")


COARSE = ("zeroed page", "garbage page", "cut off", "garbage meta page", "old copy", "lock file")


def _coarse(made: _Made, scratch: Path, kind: str, chosen: random.Random) -> str:
    """Damage a catalog, and return where."""
    path = scratch / DATABASE
    data = bytearray(path.read_bytes())
    page = PAGE * chosen.randrange(len(data) // PAGE)
    match kind:
        case "zeroed page":
            data[page : page + PAGE] = bytes(PAGE)
        case "garbage page":
            data[page : page + PAGE] = chosen.randbytes(PAGE)
        case "cut off":
            page = chosen.randrange(len(data))
            del data[page:]
        case "garbage meta page":
            page = PAGE * chosen.randrange(2)
            data[page : page + 200] = chosen.randbytes(200)
        case "old copy":
            page = chosen.randrange(len(made.older))
            data = bytearray(made.older[page])
        case _:
            page = chosen.randrange(3 * PAGE)
            (scratch / LOCKS).write_bytes(chosen.randbytes(page))
            return f"{page} bytes of garbage"
    path.write_bytes(data)
    return f"at {page}"
