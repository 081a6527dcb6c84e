"""Four processes use one store at random, and are killed now and then; nothing may come of it.

A case has a store of its own, and 500 operations. Some processes die at a step that was drawn for
them, half of a write done; others are killed from outside, so also within a commit of the catalog.
Another takes the place of each, until all is done. Then the logs of all are compared with the
promises (`process_history`) and with what is there.
"""

import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from ebsim.engine import Store
from ebsim.errors import CorruptionError, EbsimError
from ebsim.results import SnapshotState
from ebsim.testing.contents import palette_block
from ebsim.testing.forked_process import fork_server
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.torture.campaign import Campaign, RunCase, Violation, case_random
from ebsim.testing.torture.process_features import empty_bin, leave_archive, prepare_store
from ebsim.testing.torture.process_history import (
    ACCOUNTS,
    Final,
    Judge,
    Log,
    Operation,
    operations,
    parse_description,
)
from ebsim.testing.torture.process_life import VIOLATION_STATUS, LifeTask, live

PLACES = 4
OPERATIONS = 500
KILLS_MAX = 8
BETWEEN_KILLS_S = (0.05, 0.8)
DIE_AT_STEP_MAX = 4_000
_KILLED = -9
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Processes(Campaign):
    """The campaign.

    Attributes:
        sabotage: `MODULE:FUNCTION` that breaks something in each process, for tests of this module.
        operations: How many operations a case has.
        patience_s: How long the processes of a case may run, and then its last snapshots be copied.
    """

    name: str = "processes"
    promise: str = (
        "4 processes of two accounts on one store, with kills, also with keys, copies, the archive "
        "and the Recycle Bin: what was acknowledged is there until its deletion "
        "is, reads of a snapshot never differ, and of what is unknown either is true"
    )
    excludes: str = "power cuts; more than one machine; the seed does not decide how they meet"
    cases: int = 200
    sample: int = 1
    operations: int = OPERATIONS
    sabotage: str = ""
    patience_s: tuple[float, float] = (600, 120)

    @contextmanager
    def prepare(self, seed: int, folder: Path) -> Iterator[RunCase]:
        """Start the process from which others are begun quickly."""
        start = fork_server()

        def run_case(number: int) -> int:
            path = folder / f"case{number}"
            path.mkdir()
            try:
                return _Case(self, path, case_random(self.name, seed, number), start.Process).run()
            finally:
                shutil.rmtree(path)

        yield run_case


class _Case:
    """One store, and the processes that use it."""

    def __init__(
        self,
        campaign: Processes,
        folder: Path,
        rng: random.Random,
        process: Callable[..., BaseProcess],
    ) -> None:
        self._campaign = campaign
        self._folder = folder
        self._random = rng
        self._process = process
        self._lives = [0] * PLACES
        self._kills = 0

    def run(self) -> int:
        """Let it happen, and judge it; return how many operations there were."""
        with Store.create(self._folder / "store") as store:
            prepare_store(store, PLACES)
        running = {place: self._start(place) for place in range(PLACES)}
        try:
            self._watch(running)
        finally:
            for process in running.values():
                process.kill()
                process.join()
        history = [
            each
            for place in range(PLACES)
            for each in operations(Log.read(self._folder / f"log{place}"))
        ]
        judge_store(self._folder / "store", history, self._campaign.patience_s[1])
        return len(history)

    def _start(self, place: int) -> BaseProcess:
        step = round(DIE_AT_STEP_MAX ** self._random.random())
        may_die = self._kills < KILLS_MAX and self._random.random() < 0.5
        task = LifeTask(
            folder=self._folder,
            place=place,
            life=self._lives[place],
            seed=f"{self._random.random()}",
            operations=self._campaign.operations // PLACES,
            die_at_step=step if may_die else None,
            sabotage=self._campaign.sabotage,
        )
        self._lives[place] += 1
        process = self._process(target=live, args=(task,))
        process.start()
        return process

    def _watch(self, running: dict[int, BaseProcess]) -> None:
        """Kill some, let others take their place, until all is done."""
        patience_s = self._campaign.patience_s[0]
        end = time.monotonic() + patience_s
        while running:
            if time.monotonic() > end:
                raise Violation(f"after {patience_s} s processes {sorted(running)} still run")
            timeout = self._random.uniform(*BETWEEN_KILLS_S)
            ended = wait([each.sentinel for each in running.values()], timeout)
            if not ended and self._kills < KILLS_MAX:
                running[self._random.choice(sorted(running))].kill()
            for place, process in list(running.items()):
                if process.sentinel in ended:
                    process.join()
                    del running[place]
                    if not self._is_done(place, process.exitcode):
                        running[place] = self._start(place)

    def _is_done(self, place: int, status: int | None) -> bool:
        if status == 0:
            return True
        if status == _KILLED:
            self._kills += 1
            return False
        problem = self._folder / f"problem{place}"
        text = problem.read_text() if problem.exists() else f"it ended with status {status}"
        if status == VIOLATION_STATUS or CorruptionError.__name__ in text:
            raise Violation(text)  # nobody may ever find the store damaged
        raise AssertionError(f"process {place}: {text}")


def judge_store(path: Path, history: list[Operation], patience_s: float) -> None:
    """Compare a store that nobody uses any more with what was done to it; then empty it.

    Args:
        path: The store.
        history: What was done to it.
        patience_s: How long snapshots may still be pending.

    Raises:
        Violation: A promise was broken.
    """
    try:
        with Store.open(path) as store:
            accounts = [store.as_account(each) for each in ACCOUNTS]
            final: dict[str, Final] = {}
            for account in accounts:
                _await_copies(account, patience_s)
                final |= _final(account)
            Judge(history, final).judge()
            for account in accounts:
                leave_archive(account)
                for snapshot_id in _final(account):
                    if final[snapshot_id].completed:
                        compare(account, snapshot_id, final[snapshot_id].description)
            assert_healthy(store)
            for account in accounts:
                _empty(account)
            _ensure_empty(store)
    except (EbsimError, AssertionError) as error:
        if isinstance(error, Violation):
            raise
        raise Violation(f"at the end: {error}") from error


def _await_copies(store: Store, patience_s: float) -> None:
    """Wait until nothing that an account sees is pending."""
    end = time.monotonic() + patience_s
    while any(each.state is SnapshotState.PENDING for each in store.list_snapshots()):
        if time.monotonic() > end:
            raise Violation(f"after {patience_s} s some snapshots of {store.caller} are pending")
        time.sleep(_POLL_S)


def _final(store: Store) -> dict[str, Final]:
    """Return what an account has at the end."""
    return {
        each.snapshot_id: Final(
            each.description, each.state is SnapshotState.COMPLETED, each.state_message
        )
        for each in store.list_snapshots()
        if each.owner == store.caller.account
    }


def compare(store: Store, snapshot_id: str, description: str) -> None:
    """Compare a snapshot with what its description says.

    Raises:
        Violation: They differ.
    """
    _, contents = parse_description(description)
    for index, number in enumerate(contents):
        if store.read_block(snapshot_id, index) != palette_block(number):
            raise Violation(f"{snapshot_id} ({description}): block {index} is another")


def _empty(store: Store) -> None:
    """Delete everything of an account: with what the Recycle Bin keeps, which had to come back."""
    for volume in store.volumes.list():
        store.volumes.delete(volume.volume_id)
    empty_bin(store)
    ids = list(_final(store))
    if ids:
        store.delete_snapshots(ids)


def _ensure_empty(store: Store) -> None:
    """Look that nothing is left."""
    assert_healthy(store)
    stats = store.stats()
    if (stats.charged_size_bytes, stats.blocks) != (0, 0):
        raise Violation(f"everything was deleted, and this is left: {stats}")
