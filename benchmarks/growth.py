"""Benchmark 2: how costs grow with the volume and with the chain of snapshots, without moving data.

The real engine takes snapshots of sparse volumes of any size. A few blocks are written, at random
places, and a few of those change before each snapshot; their contents repeat, so that next to
nothing is stored. The store is opened anew for each snapshot, as a nightly job does. What is timed
is the call of the engine, in this process.
"""

import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sparse_source import STAMPS, SparseSource
from ebsim import SnapshotOptions, Store
from ebsim.units import BLOCK_SIZE, GIB, KIB, TIB

VOLUME_SIZES = (10 * GIB, TIB, 64 * TIB)
CHAINS = (10, 100, 1_000, 10_000)
SHORT_CHAIN = 1_000
"""The longest chain of the smaller volumes; only the largest gets the longest."""

BUILD_SECONDS_MAX = 240.0
"""A chain that takes longer to become as long as the next one wanted stays as long as it is."""

WRITTEN_BLOCKS = 16
CHANGED_BLOCKS = 4
SAMPLES = 9

DENSE_BLOCKS = 20_480
"""10 GiB of distinct blocks, to count what the catalog needs for each."""

SMALL_BLOCKS = 256
SMALL_SNAPSHOTS = 200
"""Of a volume of one map page, since each of them reads all of it: 128 MiB."""

WARM_UP_SNAPSHOTS = 50
"""Before it is looked how the catalog grows: LMDB begins by using pages that it left over."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Median times in one store, in milliseconds.

    Attributes:
        volume_bytes: The size of the volume.
        chain: Its snapshots.
        create: One more snapshot, opening and closing the store included.
        diff_near: The difference of two neighbours.
        diff_far: The difference of the first and the last.
        delete: The deletion of one in the middle.
        read: A random block of a random snapshot.
        list_all: The list of all snapshots.
        catalog_bytes: The catalog's size on disk.
    """

    volume_bytes: int
    chain: int
    create: float
    diff_near: float
    diff_far: float
    delete: float
    read: float
    list_all: float
    catalog_bytes: int


@dataclass(frozen=True, slots=True)
class CatalogBytes:
    """What the catalog needs on disk, in bytes.

    Attributes:
        block: For a stored block with its place in one snapshot's map.
        reference: For a further version with the same content, elsewhere in another volume.
        small_snapshot: For a snapshot that changed one block.
        same_snapshot: For a snapshot that changed nothing.
    """

    block: float
    reference: float
    small_snapshot: float
    same_snapshot: float


@dataclass(frozen=True, slots=True)
class Growth:
    """What was found.

    Attributes:
        costs: By volume and chain.
        catalog: Per block and per snapshot.
        peak_bytes: The most memory this process needed.
    """

    costs: list[Costs]
    catalog: CatalogBytes
    peak_bytes: int


def measure_growth(work: Path, longest_chain: int) -> Growth:
    """Measure everything in stores below a folder.

    Args:
        work: Empty.
        longest_chain: Longer ones of `CHAINS` are left out.
    """
    catalog = measure_catalog(work / "dense")
    costs: list[Costs] = []
    for size in VOLUME_SIZES:
        longest = longest_chain if size == VOLUME_SIZES[-1] else min(SHORT_CHAIN, longest_chain)
        chains = [chain for chain in CHAINS if chain <= longest]
        for found in measure_chain(work / f"volume-{size}", size, chains):
            print(f"growth: {found}", file=sys.stderr, flush=True)
            costs.append(found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    return Growth(costs, catalog, peak)


def measure_chain(folder: Path, size_bytes: int, chains: list[int]) -> Iterator[Costs]:
    """Build one chain of snapshots and measure it at each of these lengths, ascending."""
    source = SparseSource.scattered(size_bytes, WRITTEN_BLOCKS, seed=1)
    snapshots: list[str] = []
    for length in chains:
        times: list[float] = []
        while len(snapshots) < length and sum(times) < BUILD_SECONDS_MAX:
            times.append(_one_more(folder, source, snapshots))
        with Store.open(folder) as store:
            yield _measure(store, source, snapshots, statistics.median(times[-SAMPLES:]) * 1000)
        if sum(times) >= BUILD_SECONDS_MAX:
            return


def measure_catalog(folder: Path) -> CatalogBytes:
    """Measure what the catalog needs for blocks, references and snapshots."""
    source = _dense_source("memory:dense", DENSE_BLOCKS, 1)
    twins = [_dense_source(f"memory:twin-{seed}", DENSE_BLOCKS, seed) for seed in (2, 3, 4)]
    with Store.open(folder / "large", create=True) as store:
        block = _catalog_growth(store, source, snapshots=1, changed=0)
        reference = sum(_catalog_growth(store, twin, snapshots=1, changed=0) for twin in twins)
    source = _dense_source("memory:small", SMALL_BLOCKS, 1)
    with Store.open(folder / "small", create=True) as store:
        _catalog_growth(store, source, snapshots=WARM_UP_SNAPSHOTS, changed=1)
        small = _catalog_growth(store, source, snapshots=SMALL_SNAPSHOTS, changed=1)
        same = _catalog_growth(store, source, snapshots=SMALL_SNAPSHOTS, changed=0)
    return CatalogBytes(
        block / DENSE_BLOCKS,
        reference / DENSE_BLOCKS / len(twins),
        small / SMALL_SNAPSHOTS,
        same / SMALL_SNAPSHOTS,
    )


def _dense_source(identity: str, blocks: int, seed: int) -> SparseSource:
    """Return a source with every block written and no two alike, in an order of its own."""
    stamps = list(range(STAMPS + 1, STAMPS + 1 + blocks))
    random.Random(seed).shuffle(stamps)
    return SparseSource(identity, blocks * BLOCK_SIZE, dict(enumerate(stamps)), seed)


def _catalog_growth(store: Store, source: SparseSource, *, snapshots: int, changed: int) -> int:
    """Return by how many bytes the catalog grows with some snapshots."""
    before = store.stats().catalog_size_bytes
    for _ in range(snapshots):
        source.change(changed)
        store.create_snapshot(source)
    return store.stats().catalog_size_bytes - before


def _one_more(folder: Path, source: SparseSource, snapshots: list[str]) -> float:
    """Change the source and take a snapshot with a store opened for it; return the seconds."""
    source.change(CHANGED_BLOCKS)
    options = SnapshotOptions(description=f"night {len(snapshots)}")
    begin = time.perf_counter()
    with Store.open(folder, create=True) as store:
        snapshots.append(store.create_snapshot(source, options).snapshot_id)
    return time.perf_counter() - begin


def _measure(store: Store, source: SparseSource, snapshots: list[str], create: float) -> Costs:
    """Measure an open store; a few snapshots in the middle are deleted, the first and last stay."""
    chooser = random.Random(len(snapshots))
    written = source.written
    length = len(snapshots)
    catalog_bytes = store.stats().catalog_size_bytes

    def near() -> None:
        position = chooser.randrange(length - 1)
        store.diff_snapshots(snapshots[position], snapshots[position + 1])

    return Costs(
        volume_bytes=source.size_bytes,
        chain=length,
        create=create,
        diff_near=_milliseconds(near),
        diff_far=_milliseconds(lambda: store.diff_snapshots(snapshots[0], snapshots[-1])),
        read=_milliseconds(
            lambda: store.read_block(chooser.choice(snapshots), chooser.choice(written))
        ),
        list_all=_milliseconds(store.list_snapshots, samples=3),
        delete=_milliseconds(
            lambda: store.delete_snapshots([snapshots.pop(len(snapshots) // 2)]),
            samples=min(SAMPLES, length // 2),
        ),
        catalog_bytes=catalog_bytes,
    )


def _milliseconds(action: Callable[[], object], samples: int = SAMPLES) -> float:
    """Return the median time of an action."""
    times = []
    for _ in range(samples):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000
