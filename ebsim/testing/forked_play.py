"""A story acted out on real files by forked children, each of which may kill itself with SIGKILL.

A fork takes a few milliseconds where a new interpreter takes hundreds, so that thousands of kills
can be afforded. The parent never opens the store: LMDB must not be used across a fork.

A *step* is a call to a file, a clock or a source of randomness, as in `ebsim.testing.worker`, and
each failpoint. A write that is the last step is done by half.
"""

import importlib
import json
import os
import pkgutil
import select
import shutil
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import ebsim.core
import ebsim.keys
import ebsim.storage
import ebsim.volumes
from ebsim import failpoints
from ebsim.engine import Seams, Store
from ebsim.results import SnapshotState
from ebsim.storage.files import Files, PosixFiles
from ebsim.storage.reserve import RESERVE_SIZE
from ebsim.testing.kept_story import pieces_of_folder, plain_in, secrets_in
from ebsim.testing.machine_play import Moment
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import disk_of
from ebsim.testing.volume_story import (
    Actor,
    Ids,
    Line,
    assert_files_survived,
    assert_story_survived,
    content,
    perform,
)
from ebsim.testing.worker import Counted, Steps

PATIENCE_S = 240
"""Far more than a story takes, also on a busy machine."""

OTHER = "other"
"""The folder, beside the store, of the other store that a repair takes blocks from."""


CIPHERS = (
    "ciphers.aead",
    "ciphers.algorithms",
    "ciphers.modes",
    "hashes",
    "kdf.hkdf",
    "kdf.scrypt",
)
"""What encrypting imports when it is first needed."""


class FrugalFiles(PosixFiles):
    """Files of a store that has its reserve already: making 16 MiB takes longer than a story."""

    def allocated_bytes(self, path: Path) -> int:
        """Return the bytes a file occupies; of the reserve, all."""
        return RESERVE_SIZE if path.name == "reserve" else super().allocated_bytes(path)


def import_everything() -> None:
    """Import what a store may need, so that children need not."""
    for package in (ebsim.storage, ebsim.keys, ebsim.core, ebsim.volumes):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    for name in CIPHERS:
        importlib.import_module(f"cryptography.hazmat.primitives.{name}")


class ForkedPlay:
    """A story on a store of its own.

    Args:
        folder: An empty folder.
        story: The story.

    Attributes:
        boot_id: Which boot of the machine the children believe it to be.
        ids: The ids of volumes and snapshots, by name.
        done: How many lines were done.
        made: Whether the store was told to be made.
        hits: How often the last child that lived reached each failpoint.
        steps: How many steps it made.
    """

    def __init__(self, folder: Path, story: list[Line]) -> None:
        self._folder = folder
        self._children = 0
        self.boot_id = "one boot"
        self.story = story
        self.ids: Ids = {}
        self.done = 0
        self.made = False
        self.hits: dict[str, int] = {}
        self.steps = 0

    def run(self, die_at: Moment) -> bool:
        """Act it out; return whether the child died before the end.

        Raises:
            AssertionError: It failed instead.
        """

        def act(child: "Child") -> None:
            child.act_out(self.story, self._folder)

        return self._fork(die_at, act)

    def recover(self, die_at: Moment) -> bool:
        """Open the store and copy what is pending; return whether the child died.

        Raises:
            AssertionError: It failed instead.
        """

        def act(child: "Child") -> None:
            shown = child.store.list_snapshots()
            pending = [each for each in shown if each.state is SnapshotState.PENDING]
            child.store.wait_snapshots([each.snapshot_id for each in pending])
            child.store.close()

        return self._fork(die_at, act)

    def assert_survived(self, *, cut: bool = False) -> None:
        """Open the store, and compare all that it says, and the restored files, with the story.

        Args:
            cut: Whether the power was cut.

        Raises:
            AssertionError: Something is lost or wrong.
        """

        def act(child: "Child") -> None:
            story, done, other = self.story, self.done, self._folder / OTHER
            other_or_none = other if other.exists() else None
            assert_story_survived(child.store, story, done, self.ids, cut=cut, other=other_or_none)
            child.store.close()

        assert_files_survived(self._folder, self.story, self.done)
        plain = plain_in(pieces_of_folder(self._folder / "store"), secrets_in(self.story))
        if plain:
            raise AssertionError(f"contents {plain} of what is encrypted are on the disk")
        self._fork(None, act)

    def _fork(self, die_at: Moment, act: "Callable[[Child], object]") -> bool:
        self._children += 1
        incoming, outgoing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(incoming)
            child = Child(self._folder / "store", self._children, outgoing, self.boot_id)
            child.die_at(die_at)
            child.live(act, made=self.made)
        os.close(outgoing)
        try:
            told = _read_all(incoming, pid)
        finally:
            os.close(incoming)
        _, status = os.waitpid(pid, 0)
        error = self.hear(told)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL and not error:
            return True
        if error or status:
            raise AssertionError(error or f"the child ended with status {status}")
        return False

    def hear(self, told: bytes) -> str:
        """Take over what a child told; return how it failed, or nothing."""
        error = ""
        for line in told.split(b"\n")[:-1]:
            facts: dict[str, Any] = json.loads(line)
            self.made = facts.get("made", self.made)
            self.done = facts.get("done", self.done)
            self.ids = facts.get("ids", self.ids)
            self.hits = facts.get("hits", self.hits)
            self.steps = facts.get("steps", self.steps)
            error = facts.get("error", error)
        return error


class Child:
    """What runs in the child.

    Args:
        path: The store.
        number: Makes its ids; no two children on one store have the same.
        outgoing: A descriptor to which it tells what it does, as lines of JSON.
        boot_id: Which boot of the machine it is.

    Attributes:
        store: The store, open.
        gate: While it is cleared, no snapshot is copied.
    """

    store: Store

    def __init__(self, path: Path, number: int, outgoing: int, boot_id: str) -> None:
        self._path = path
        self._outgoing = outgoing
        self._dies_at: Moment = None
        self._steps = Steps(None)
        self._hits: Counter[str] = Counter()
        self._mutex = threading.Lock()
        self._entropy = SeededEntropy(number)
        self._boot_id = boot_id
        self.gate = threading.Event()
        self.gate.set()

    def die_at(self, moment: Moment) -> None:
        """Have it kill itself then."""
        self._dies_at = moment
        if isinstance(moment, int):
            self._steps = Steps(moment)

    def seams(self) -> Seams:
        """Return what the store works with."""
        return Seams(
            files=cast("Files", Counted(FrugalFiles(), self._steps)),
            clock=ManualClock(),
            entropy=self._entropy,
            boot_id=self._boot_id,
            before_copy=lambda _snapshot_id: self._wait_at_gate(),
        )

    def act_out(self, story: Sequence[Line], folder: Path) -> None:
        """Act a story out, with restored files in a folder, and tell each line that is done."""
        self.tell(made=True)
        ids: Ids = {}
        actor = Actor(self.store, self.gate, ids, lambda: time.sleep(0.0005))
        actor.folder = folder
        actor.again = self.open
        actor.rebuild = self.rebuild
        actor.furnish = lambda numbers: self.furnish(folder / OTHER, numbers)
        try:
            perform(actor, story, lambda done: self.tell(done=done, ids=ids))
        finally:
            self.gate.set()
        self.store.close()

    def live(self, act: "Callable[[Child], object]", *, made: bool) -> None:
        """Do it, tell how it ended, and exit."""
        status = 1
        try:
            failpoints.arm(self._reach)
            self.store = Store.open(self._path, self.seams(), create=not made)
            act(self)
            self.tell(hits=self._hits, steps=self._steps.count)
            status = 0
        except BaseException:  # noqa: BLE001 - the parent is told
            self.tell(error=traceback.format_exc())
        finally:
            os._exit(status)

    def open(self) -> Store:
        """Open the store anew, and return it."""
        self.store = Store.open(self._path, self.seams())
        return self.store

    def rebuild(self) -> None:
        """Make the catalog again; the store is closed."""
        Store.rebuild(self._path, self.seams())

    def furnish(self, path: Path, numbers: Sequence[int]) -> Path:
        """Make another store, with these contents only; it has no steps and no failpoints."""
        failpoints.disarm()
        try:
            made = path.with_name(f"{path.name}.new")
            shutil.rmtree(made, ignore_errors=True)
            with Store.create(made, Seams(files=FrugalFiles())) as other:
                other.create_snapshot(disk_of(*map(content, numbers), name="memory:other"))
            shutil.rmtree(path, ignore_errors=True)
            made.rename(path)
        finally:
            failpoints.arm(self._reach)
        return path

    def tell(self, **facts: object) -> None:
        """Tell the parent."""
        self.tell_bytes(json.dumps(facts).encode() + b"\n")

    def tell_bytes(self, line: bytes) -> None:
        """Tell the parent a line."""
        os.write(self._outgoing, line)

    def _reach(self, failpoint: str) -> None:
        with self._mutex:
            self._hits[failpoint] += 1
            if (failpoint, self._hits[failpoint]) == self._dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
        self._steps.step()

    def _wait_at_gate(self) -> None:
        self.gate.wait()


def _read_all(incoming: int, pid: int) -> bytes:
    """Return what a child told until it was gone; one that hangs is killed."""
    parts: list[bytes] = []
    while True:
        if not select.select([incoming], [], [], PATIENCE_S)[0]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError(f"a child said nothing for {PATIENCE_S} seconds")
        part = os.read(incoming, 1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)
