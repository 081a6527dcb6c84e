"""The soak on managed volumes: threads that write, take, delete and restore on one store."""

import random
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ebsim.engine import Seams, Store
from ebsim.errors import EbsimError, ErrorCode, NotFoundError
from ebsim.requests import VolumeRequest
from ebsim.results import Snapshot, SnapshotState
from ebsim.storage.files import PosixFiles
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.numbered_writes import (
    PLACE_SIZE,
    PLACES,
    Cut,
    Moments,
    Place,
    WriteHistory,
    fill,
    numbers_of,
)
from ebsim.testing.observed_files import ObservedFiles
from ebsim.units import BLOCK_SIZE, GIB
from ebsim.volumes.volume_file import VolumeFile

WRITERS, SNAPSHOTTERS, DELETERS, RESTORERS = 4, 2, 1, 1
BASE_VOLUMES = 3
VOLUMES_MAX = 6
LIVE_MAX = 24
"""More snapshots than this are deleted as fast as the deleter can."""

SHARED = (0, 1, 2, 255, 256, 257, 900, 2047)
"""Blocks whose places belong to the writers in turn: borders of leaves, and the volume's end."""

OWN = {writer: tuple(range(20 + 300 * writer, 26 + 300 * writer)) for writer in range(WRITERS)}
"""Blocks of one writer each, in a row: for whole blocks, several blocks, and discarding."""

UNTOUCHED = (10, 511, 1500)
BLOCKS = (*SHARED, *(block for blocks in OWN.values() for block in blocks), *UNTOUCHED)

PHASE_S = 10.0
"""After this the store is closed, mostly without waiting, and opened again."""

PAUSE_S = 0.02
DELAY_S = 0.05
SWITCH_INTERVAL_S = 1e-5
"""Threads take turns 500 times as often as Python lets them by default: more ways to meet."""
FULL = (ErrorCode.CONCURRENT_SNAPSHOT_LIMIT_EXCEEDED,)


@dataclass(eq=False)
class SoakVolume:
    """A volume in use, with what was written to it."""

    volume_id: str
    file: VolumeFile
    history: WriteHistory
    users: int = 0
    retired: bool = False


@dataclass(eq=False)
class Taken:
    """A snapshot, and what is known of it."""

    snapshot_id: str
    volume: SoakVolume
    cut: Cut
    contents: dict[Place, int] | None = None
    doomed: bool = False


@dataclass
class State:
    """All that the threads share."""

    folder: Path
    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    moments: Moments = field(default_factory=Moments)
    volumes: list[SoakVolume] = field(default_factory=list)
    taken: dict[str, Taken] = field(default_factory=dict)
    problems: list[BaseException] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stop: threading.Event = field(default_factory=threading.Event)

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    @contextmanager
    def lease(self, rng: random.Random, most: int = 1) -> Iterator[list[SoakVolume]]:
        """Have some volumes that nobody deletes meanwhile."""
        with self.lock:
            usable = [volume for volume in self.volumes if not volume.retired]
            chosen = rng.sample(usable, min(most, len(usable)))
            for volume in chosen:
                volume.users += 1
        try:
            yield chosen
        finally:
            with self.lock:
                for volume in chosen:
                    volume.users -= 1

    def pick(self, rng: random.Random) -> Taken | None:
        """Return a snapshot whose contents are known, or None."""
        with self.lock:
            known = [each for each in self.taken.values() if each.contents is not None]
        return rng.choice(known) if known else None


def run_volumes(folder: Path, seconds: float, seed: int) -> State:
    """Soak for so long; return what was done, and the problems found."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    state = State(folder, seed)
    store = Store.create(folder / "store", seams(seed))
    for _ in range(BASE_VOLUMES):
        add_volume(state, store, VolumeRequest(size_gib=1), {})
    rng = random.Random(seed)
    phases = max(1, round(seconds / PHASE_S))
    for phase in range(phases):
        run_phase(state, store, seconds / phases, seed * 1000 + phase)
        if state.problems:
            break
        store = reopened(state, store, rng)
    if not state.problems:
        guarded(state, lambda: final_look(state, store))
    store.close(wait=not state.problems)
    return state


def seams(seed: int) -> Seams:
    """Return seams with which copying a snapshot, and keeping and loading blocks, takes longer."""
    rng = random.Random(seed)
    wait = threading.Event().wait

    def before_copy(_snapshot_id: str) -> None:
        wait(DELAY_S * rng.choice((0, 0.2, 1)))

    def before_file(what: str, path: Path) -> None:
        if what == "write_at" and path.suffix in (".kept", ".intents") and rng.random() < 0.2:
            wait(DELAY_S * 0.1 * rng.random())

    return Seams(files=ObservedFiles(PosixFiles(), before_file), before_copy=before_copy)


def run_phase(state: State, store: Store, seconds: float, seed: int) -> None:
    state.stop.clear()
    jobs: list[Callable[[random.Random], None]] = [
        *(lambda rng, writer=number: write(state, writer, rng) for number in range(WRITERS)),
        *[lambda rng: take(state, store, rng)] * SNAPSHOTTERS,
        *[lambda rng: delete(state, store, rng)] * DELETERS,
        *[lambda rng: restore(state, store, rng)] * RESTORERS,
    ]
    threads = [
        threading.Thread(target=repeat, args=(state, job, seed * 100 + number), daemon=True)
        for number, job in enumerate(jobs)
    ]
    for thread in threads:
        thread.start()
    state.stop.wait(seconds)
    state.stop.set()
    for thread in threads:
        thread.join()


def repeat(state: State, job: Callable[[random.Random], None], seed: int) -> None:
    rng = random.Random(seed)
    while not state.stop.is_set():
        guarded(state, lambda: job(rng))


def guarded(state: State, job: Callable[[], None]) -> None:
    try:
        job()
    except Exception as error:  # noqa: BLE001 - every problem is kept and told at the end
        state.problems.append(error)
        state.stop.set()


# Writers


def write(state: State, writer: int, rng: random.Random) -> None:
    """Do one thing to a volume as this writer, and sometimes look or flush."""
    with state.lease(rng) as volumes:
        for volume in volumes:
            kind = rng.choices(
                ("places", "block", "blocks", "discard", "look", "flush"), (60, 10, 8, 6, 14, 2)
            )[0]
            ACTIONS[kind](state, volume, writer, rng)
            state.count(f"writer: {kind}")


def write_places(state: State, volume: SoakVolume, writer: int, rng: random.Random) -> None:
    """Write a place of a block that others write to at the same time."""
    place = (rng.choice(SHARED), writer + WRITERS * rng.randrange(PLACES // WRITERS))
    put(state, volume, [place], place[0] * BLOCK_SIZE + place[1] * PLACE_SIZE)


def write_block(state: State, volume: SoakVolume, writer: int, rng: random.Random) -> None:
    """Write a run of places of an own block, or all of it."""
    block = rng.choice(OWN[writer])
    first = rng.choice((0, 0, rng.randrange(PLACES)))
    last = rng.choice((PLACES, rng.randrange(first, PLACES) + 1))
    places = [(block, place) for place in range(first, last)]
    put(state, volume, places, block * BLOCK_SIZE + first * PLACE_SIZE)


def write_blocks(state: State, volume: SoakVolume, writer: int, rng: random.Random) -> None:
    """Write across the border of own blocks. Each block is one for a snapshot, not all."""
    count = rng.randrange(2, 4)
    at = rng.randrange(len(OWN[writer]) - count + 1)
    first = rng.randrange(PLACES)
    blocks = OWN[writer][at : at + count]
    places = [(block, place) for block in blocks for place in range(PLACES)]
    put(
        state,
        volume,
        places[first : len(places) - first],
        blocks[0] * BLOCK_SIZE + first * PLACE_SIZE,
    )


def discard(state: State, volume: SoakVolume, writer: int, rng: random.Random) -> None:
    """Discard an own block, or the end of one and the beginning of the next."""
    at = rng.randrange(len(OWN[writer]) - 1)
    block, first = OWN[writer][at], rng.choice((0, 0, 3))
    places = [(block + n // PLACES, n % PLACES) for n in range(first, first + PLACES)]
    noted = volume.history.begin(places, 0)
    volume.file.discard(block * BLOCK_SIZE + first * PLACE_SIZE, BLOCK_SIZE)
    volume.history.end(noted)


def look(state: State, volume: SoakVolume, writer: int, rng: random.Random) -> None:
    """Read what this writer wrote."""
    block = rng.choice(OWN[writer])
    found = list(numbers_of(volume.file.pread(BLOCK_SIZE, block * BLOCK_SIZE)))
    expected = [volume.history.last((block, place)) for place in range(PLACES)]
    assert found == expected, f"{volume.volume_id} block {block}: {found}, expected {expected}"


def flush(state: State, volume: SoakVolume, writer: int, rng: random.Random) -> None:
    volume.file.flush()


def put(state: State, volume: SoakVolume, places: list[Place], offset: int) -> None:
    number = state.moments.number()
    data = fill(number, len(places))
    noted = volume.history.begin(places, number)
    volume.file.pwrite(data, offset)
    volume.history.end(noted)


ACTIONS = {
    "places": write_places,
    "block": write_block,
    "blocks": write_blocks,
    "discard": discard,
    "look": look,
    "flush": flush,
}


# Snapshotters


def take(state: State, store: Store, rng: random.Random) -> None:
    """Take a few snapshots, of single volumes and of sets; then wait for them and look at them."""
    begun: list[list[Taken]] = []
    for _ in range(rng.randrange(1, 4)):
        with state.lease(rng, most=rng.choice((1, 1, 1, 2, 3))) as volumes:
            wanted = [volume.volume_id for volume in volumes]
            start = state.moments.now()
            try:
                shown = store.create_snapshots(wanted)
            except EbsimError as error:
                if error.code not in FULL:
                    raise
                state.count("snapshotter: refused, 5 are pending")
                break
            cut = Cut(start, state.moments.now())
            group = [
                Taken(each.snapshot_id, volume, cut)
                for each, volume in zip(shown, volumes, strict=True)
            ]
            with state.lock:
                state.taken.update({each.snapshot_id: each for each in group})
            state.count("snapshotter: snapshot" if len(group) == 1 else "snapshotter: set")
            begun.append(group)
        state.stop.wait(rng.random() * PAUSE_S)
    for group in begun:
        if state.stop.is_set():
            return  # some stay pending while the store is closed
        learn(state, store, group)


def learn(state: State, store: Store, group: list[Taken]) -> int:
    """Wait for snapshots, look at them for the first time, and remember what they hold."""
    done = 0
    for taken in group:
        for shown in wait_for(store, taken):
            assert shown.state is SnapshotState.COMPLETED, f"{shown}"
            contents = read(store, taken)
            if contents is not None:
                taken.cut.look(shown.snapshot_id, taken.volume.history, contents)
                taken.contents = contents
                done += 1
    with state.lock:
        state.counts["snapshotter: looked at"] += done
    return done


def wait_for(store: Store, taken: Taken) -> list[Snapshot]:
    """Return a snapshot as it is in the end; nothing if it was deleted while it was pending."""
    try:
        return store.wait_snapshots([taken.snapshot_id])
    except NotFoundError:
        assert taken.doomed, f"{taken.snapshot_id} is gone, and nobody deleted it"
        return []


def read(store: Store, taken: Taken) -> dict[Place, int] | None:
    """Return what a snapshot holds, or None if it was deleted."""
    contents: dict[Place, int] = {}
    try:
        for block in BLOCKS:
            for place, number in enumerate(numbers_of(store.read_block(taken.snapshot_id, block))):
                contents[block, place] = number
    except NotFoundError:
        assert taken.doomed, f"{taken.snapshot_id} is gone, and nobody deleted it"
        return None
    return contents


# Deleter


def delete(state: State, store: Store, rng: random.Random) -> None:
    """Delete a few snapshots, also pending ones, or a volume."""
    if rng.random() < 0.1:
        retire(state, store, rng)
    with state.lock:
        live = [each for each in state.taken.values() if not each.doomed]
        known = [each for each in live if each.contents is not None]
        candidates = live if rng.random() < 0.1 else known
        wanted = rng.randrange(1, 4) if len(live) > LIVE_MAX * rng.random() else 0
        chosen = rng.sample(candidates, min(len(candidates), wanted))
        for each in chosen:
            each.doomed = True
    if chosen:
        store.delete_snapshots([each.snapshot_id for each in chosen])
        with state.lock:
            for each in chosen:
                del state.taken[each.snapshot_id]
                state.counts["deleter: snapshot"] += 1
                state.counts["deleter: before it was looked at"] += each.contents is None
    if len(live) < LIVE_MAX:
        state.stop.wait(0.2 * rng.random())


def retire(state: State, store: Store, rng: random.Random) -> None:
    """Delete a volume, maybe while snapshots of it are pending, and maybe half loaded."""
    with state.lock:
        extra = [each for each in state.volumes[BASE_VOLUMES:] if not each.retired]
        if not extra:
            return
        volume = rng.choice(extra)
        volume.retired = True
    while volume.users:
        state.stop.wait(0.001)
        threading.Event().wait(0.001)
    volume.file.close()
    store.volumes.delete(volume.volume_id)
    with state.lock:
        state.volumes.remove(volume)
    state.count("deleter: volume")


# Restorer


def restore(state: State, store: Store, rng: random.Random) -> None:
    """Do something with a snapshot whose contents are known, and compare."""
    taken = state.pick(rng)
    if taken is None:
        state.stop.wait(PAUSE_S)
        return
    how = rng.choices((look_again, to_file, to_volume), (6, 3, 2))[0]
    try:
        how(state, store, taken, rng)
        state.count(f"restorer: {how.__name__}")
    except NotFoundError:
        assert taken.doomed, f"{taken.snapshot_id} is gone, and nobody deleted it"
        state.count("restorer: it was deleted meanwhile")


def look_again(state: State, store: Store, taken: Taken, rng: random.Random) -> None:
    """Read a snapshot's blocks: they never change."""
    contents = read(store, taken)
    assert contents is None or contents == taken.contents, differences(taken, contents)


def to_file(state: State, store: Store, taken: Taken, rng: random.Random) -> None:
    """Restore a snapshot to a file, in place where that is from another snapshot."""
    target = state.folder / "restored.img"
    in_place = target.exists() and rng.random() < 0.7
    store.restore_snapshot(taken.snapshot_id, target, in_place=in_place, force=not in_place)
    with target.open("rb") as file:
        found = {}
        for block in BLOCKS:
            file.seek(block * BLOCK_SIZE)
            for place, number in enumerate(numbers_of(file.read(BLOCK_SIZE))):
                found[block, place] = number
    assert found == taken.contents, differences(taken, found)


def to_volume(state: State, store: Store, taken: Taken, rng: random.Random) -> None:
    """Make a volume from a snapshot, look at some blocks, and give it to the writers."""
    assert taken.contents is not None
    if len(state.volumes) >= VOLUMES_MAX:
        return
    rate = rng.choice((None, None, 100))
    request = VolumeRequest(snapshot_id=taken.snapshot_id, initialization_rate=rate)
    volume = add_volume(state, store, request, taken.contents)
    for block in rng.sample(UNTOUCHED, 1):
        found = list(numbers_of(volume.file.pread(BLOCK_SIZE, block * BLOCK_SIZE)))
        assert found == [taken.contents[block, place] for place in range(PLACES)]
    if rng.random() < 0.2:
        store.volumes.initialize(volume.volume_id)


def add_volume(
    state: State, store: Store, request: VolumeRequest, contents: dict[Place, int]
) -> SoakVolume:
    made = store.volumes.create(request)
    assert made.size_bytes == GIB
    file = store.volumes.open(made.volume_id)
    volume = SoakVolume(made.volume_id, file, WriteHistory(state.moments, contents))
    with state.lock:
        state.volumes.append(volume)
    return volume


def differences(taken: Taken, found: dict[Place, int] | None) -> str:
    expected = taken.contents
    assert found is not None
    assert expected is not None
    wrong = {
        place: (expected[place], found[place]) for place in found if expected[place] != found[place]
    }
    return f"{taken.snapshot_id}: place: (expected, found): {wrong}"


# Between phases, and at the end


def reopened(state: State, store: Store, rng: random.Random) -> Store:
    """Close the store and open it again; what stayed pending is looked at afterwards."""
    for volume in state.volumes:
        if rng.random() < 0.5:
            volume.file.close()
    with state.lock:
        pending = [each for each in state.taken.values() if each.contents is None]
    store.close(wait=rng.random() < 0.2)
    state.count("reopened")
    store = Store.open(state.folder / "store", seams(rng.randrange(1 << 30)))
    for volume in state.volumes:
        volume.file = store.volumes.open(volume.volume_id)

    def look_at_pending() -> None:
        state.counts["looked at after reopening"] += learn(state, store, pending)
        for volume in state.volumes:
            for block in BLOCKS:
                found = list(numbers_of(volume.file.pread(BLOCK_SIZE, block * BLOCK_SIZE)))
                expected = [volume.history.last((block, place)) for place in range(PLACES)]
                assert found == expected, f"{volume.volume_id} {block}: {found} not {expected}"

    guarded(state, look_at_pending)
    return store


def final_look(state: State, store: Store) -> None:
    """Look at every snapshot once more, prove every byte, delete everything, prove again."""
    for taken in state.taken.values():
        look_again(state, store, taken, random.Random(0))
        state.counts["looked at again at the end"] += 1
    assert_healthy(store)
    for volume in state.volumes:
        volume.file.close()
        store.volumes.delete(volume.volume_id)
    left = [shown.snapshot_id for shown in store.list_snapshots()]
    assert sorted(left) == sorted(state.taken), "the store has other snapshots than were made"
    if left:
        store.delete_snapshots(left)
    assert_healthy(store)
    stats = store.stats()
    assert (stats.charged_size_bytes, stats.blocks) == (0, 0), f"left over: {stats}"
    shutil.rmtree(state.folder / "restored.img", ignore_errors=True)
