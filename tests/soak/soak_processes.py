"""The soak on scanned sources: processes that snapshot, delete and restore on one store.

Each process has an image of its own, and knows what it held at each snapshot. It writes that down,
so that the others can compare too. Now and then one is killed and another takes its place.
"""

import json
import multiprocessing
import random
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from ebsim.engine import Store
from ebsim.errors import NotFoundError
from ebsim.results import SnapshotState
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.numbered_writes import PLACE_SIZE, PLACES, fill, numbers_of
from ebsim.units import BLOCK_SIZE

PROCESSES = 4
BLOCKS = 24
LIVE_MAX = 16
BETWEEN_KILLS_S = (1.0, 4.0)
NUMBERS_PER_PROCESS = 1 << 32


@dataclass
class Summary:
    """What was done, and the problems found."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[BaseException] = field(default_factory=list)


class Ledger:
    """What the processes tell each other, in files: contents of snapshots, and deletions begun."""

    def __init__(self, folder: Path) -> None:
        self._known = folder / "known"
        self._doomed = folder / "doomed"
        self._problems = folder / "problems"
        self._counts = folder / "counts"
        for each in (self._known, self._doomed, self._problems, self._counts):
            each.mkdir(exist_ok=True)

    def learn(self, snapshot_id: str, contents: list[int]) -> None:
        """Tell what a completed snapshot holds, whole or not at all."""
        new = self._known / f"{snapshot_id}.new"
        new.write_text(json.dumps(contents))
        new.rename(self._known / snapshot_id)

    def known(self) -> list[str]:
        """Return the snapshots whose contents are known and that nobody deletes."""
        names = [path.name for path in self._known.iterdir() if not path.name.endswith(".new")]
        return sorted(name for name in names if not self.is_doomed(name))

    def contents(self, snapshot_id: str) -> list[int]:
        """Return what a snapshot holds, place by place."""
        found: list[int] = json.loads((self._known / snapshot_id).read_text())
        return found

    def doom(self, snapshot_id: str) -> bool:
        """Tell that one is going to be deleted; False if another did."""
        try:
            (self._doomed / snapshot_id).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def is_doomed(self, snapshot_id: str) -> bool:
        """Return whether somebody began to delete it."""
        return (self._doomed / snapshot_id).exists()

    def report(self, name: str, text: str) -> None:
        """Tell of a problem."""
        (self._problems / name).write_text(text)

    def problems(self) -> list[str]:
        """Return all problems."""
        return [path.read_text() for path in sorted(self._problems.iterdir())]

    def count(self, name: str, counts: Counter[str]) -> None:
        """Tell what a process has done so far."""
        new = self._counts / f"{name}.new"
        new.write_text(json.dumps(counts))
        new.rename(self._counts / name)

    def counts(self) -> Counter[str]:
        """Return what all processes have done; what one did just before it was killed may lack."""
        total: Counter[str] = Counter()
        for path in self._counts.iterdir():
            if not path.name.endswith(".new"):
                total.update(json.loads(path.read_text()))
        return total


def run_processes(folder: Path, seconds: float, seed: int) -> Summary:
    """Soak for so long; return what was done, and the problems found."""
    Store.create(folder / "store").close()
    ledger = Ledger(folder)
    rng = random.Random(seed)
    spawn = multiprocessing.get_context("spawn")
    number = 0

    def start(place: int) -> BaseProcess:
        nonlocal number
        number += 1
        process = spawn.Process(target=work, args=(folder, place, number, seed), daemon=True)
        process.start()
        return process

    kills = 0
    running = [start(place) for place in range(PROCESSES)]
    end = time.monotonic() + seconds
    while time.monotonic() < end and not ledger.problems():
        threading.Event().wait(rng.uniform(*BETWEEN_KILLS_S))
        place = rng.randrange(PROCESSES)
        running[place].kill()
        running[place].join()
        kills += 1
        running[place] = start(place)
    (folder / "stop").touch()
    for process in running:
        process.join()
    summary = Summary(ledger.counts(), [AssertionError(text) for text in ledger.problems()])
    summary.counts["killed"] = kills
    try:
        final_look(folder, ledger, summary)
    except Exception as error:  # noqa: BLE001 - told with the rest
        summary.problems.append(error)
    return summary


def final_look(folder: Path, ledger: Ledger, summary: Summary) -> None:
    """Look at every snapshot once more, and prove every byte."""
    with Store.open(folder / "store") as store:
        shown = {each.snapshot_id: each for each in store.list_snapshots()}
        missing = set(ledger.known()) - shown.keys()
        assert not missing, f"they are gone, and nobody deleted them: {missing}"
        for snapshot_id, each in shown.items():
            assert each.state is not SnapshotState.PENDING, f"{each}"
            if each.state is SnapshotState.ERROR:
                summary.counts["in error, as their process was killed"] += 1
                continue
            try:
                expected = ledger.contents(snapshot_id)
            except FileNotFoundError:
                summary.counts["completed, and its process killed before it told"] += 1
                continue
            found = read(store, snapshot_id)
            assert found == expected, f"{snapshot_id}: {found}, expected {expected}"
            summary.counts["looked at again at the end"] += 1
        assert_healthy(store)
        store.delete_snapshots(list(shown))
        assert_healthy(store)
        stats = store.stats()
        assert (stats.charged_size_bytes, stats.blocks) == (0, 0), f"left over: {stats}"


# In each process


def work(folder: Path, place: int, number: int, seed: int) -> None:
    """Write, snapshot, delete, compare, until told to stop."""
    ledger = Ledger(folder)
    try:
        Worker(folder, ledger, place, number, seed).run()
    except BaseException:  # noqa: BLE001 - the parent tells it
        ledger.report(f"{number}", f"process {number}:\n{traceback.format_exc()}")


class Worker:
    """One process: an image, and what it holds."""

    def __init__(self, folder: Path, ledger: Ledger, place: int, number: int, seed: int) -> None:
        self._folder = folder
        self._ledger = ledger
        self._name = f"{number}"
        self._rng = random.Random(seed * 10_000 + number)
        self._next_number = number * NUMBERS_PER_PROCESS
        self._image = folder / f"image{place}.raw"
        self._contents = read_image(self._image)
        self._counts: Counter[str] = Counter()

    def run(self) -> None:
        """Go on until told to stop; open the store anew now and then."""
        while not (self._folder / "stop").exists():
            with Store.open(self._folder / "store") as store:
                for _ in range(self._rng.randrange(1, 30)):
                    if (self._folder / "stop").exists():
                        break
                    self._step(store)
                    self._ledger.count(self._name, self._counts)
            self._counts["opened"] += 1

    def _step(self, store: Store) -> None:
        steps = (self._snapshot, self._delete, self._compare, self._restore, self._check)
        step = self._rng.choices(steps, (40, 20, 25, 10, 2))[0]
        try:
            step(store)
        except NotFoundError as error:
            gone = str(error)
            assert any(self._ledger.is_doomed(name) for name in _ids(gone)), gone
            self._counts["it was deleted meanwhile"] += 1
        else:
            self._counts[step.__name__.strip("_")] += 1

    def _snapshot(self, store: Store) -> None:
        with self._image.open("r+b") as file:
            for _ in range(self._rng.randrange(8)):
                at = self._rng.randrange(BLOCKS * PLACES)
                count = min(self._rng.choice((1, 1, 4, PLACES, 2 * PLACES)), BLOCKS * PLACES - at)
                value = self._rng.choice((0, self._next_number, self._next_number))
                self._next_number += 1
                file.seek(at * PLACE_SIZE)
                file.write(fill(value, count))
                self._contents[at : at + count] = [value] * count
        shown = store.create_snapshot(self._image)
        assert shown.state is SnapshotState.COMPLETED, f"{shown}"
        self._ledger.learn(shown.snapshot_id, self._contents)

    def _delete(self, store: Store) -> None:
        known = self._ledger.known()
        if len(known) > LIVE_MAX * self._rng.random():
            chosen = self._rng.sample(known, min(len(known), self._rng.randrange(1, 4)))
            mine = [each for each in chosen if self._ledger.doom(each)]
            if mine:
                store.delete_snapshots(mine)

    def _compare(self, store: Store) -> None:
        known = self._ledger.known()
        if known:
            wanted = self._rng.choice(known)
            found, expected = read(store, wanted), self._ledger.contents(wanted)
            assert found == expected, f"{wanted}: {found}, expected {expected}"

    def _restore(self, store: Store) -> None:
        known = self._ledger.known()
        if known:
            wanted = self._rng.choice(known)
            target = self._folder / f"restored{self._name}.raw"
            store.restore_snapshot(wanted, target, force=True)
            with target.open("rb") as file:
                found = [each for _ in range(BLOCKS) for each in numbers_of(file.read(BLOCK_SIZE))]
            target.unlink()
            expected = self._ledger.contents(wanted)
            assert found == expected, f"{wanted}: {found}, expected {expected}"

    def _check(self, store: Store) -> None:
        assert_healthy(store)


def read_image(path: Path) -> list[int]:
    """Return what an image holds, made if need be; a block torn by a kill is made zeros."""
    path.touch()
    contents: list[int] = []
    with path.open("r+b") as file:
        file.truncate(BLOCKS * BLOCK_SIZE)
        for index in range(BLOCKS):
            try:
                contents.extend(list(numbers_of(file.read(BLOCK_SIZE))))
            except AssertionError:
                file.seek(index * BLOCK_SIZE)
                file.write(bytes(BLOCK_SIZE))
                contents.extend([0] * PLACES)
    return contents


def _ids(text: str) -> list[str]:
    words = text.replace("'", " ").replace(".", " ").replace(",", " ").split()
    return [word for word in words if word.startswith("snap-")]


def read(store: Store, snapshot_id: str) -> list[int]:
    """Return what a snapshot holds, place by place."""
    blocks = (store.read_block(snapshot_id, index) for index in range(BLOCKS))
    return [number for block in blocks for number in numbers_of(block)]
