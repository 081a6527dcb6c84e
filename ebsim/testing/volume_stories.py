"""Stories for `ebsim.testing.volume_story`: short, and each about something else."""

import random

from ebsim.testing.kept_stories import BINNED, BROUGHT_BACK, SEALED, KeptMaker
from ebsim.testing.volume_story import Line

WRITES: list[Line] = [
    ("create", "v"),
    ("write", "v", 0, 4),
    ("write", "v", 1, 8),
    ("flush", "v"),
    ("part", "v", 0, 5),
    ("snapshot", "v", "s1"),
    ("wait", "s1"),
    ("write", "v", 2, 12),
    ("part", "v", 1, 9),
    ("flush", "v"),
    ("discard", "v", 0),
    ("snapshot", "v", "s2"),
    ("wait", "s2"),
    ("write", "v", 0, 4),
    ("close", "v"),
    ("write", "v", 1, 16),
]

PENDING: list[Line] = [
    ("create", "v"),
    ("write", "v", 0, 4),
    ("write", "v", 1, 8),
    ("snapshot", "v", "s1"),
    ("wait", "s1"),
    ("hold",),
    ("write", "v", 0, 12),
    ("snapshot", "v", "s2"),
    ("write", "v", 0, 16),
    ("write", "v", 1, 20),
    ("write", "v", 2, 24),
    ("snapshot", "v", "s3"),
    ("write", "v", 0, 28),
    ("part", "v", 2, 9),
    ("flush", "v"),
    ("delete", "s1"),
    ("write", "v", 1, 32),
    ("go",),
    ("write", "v", 3, 36),
    ("wait", "s2", "s3"),
    ("delete", "s2"),
    ("write", "v", 0, 40),
]

LOADING: list[Line] = [
    ("create", "v"),
    ("write", "v", 0, 4),
    ("write", "v", 1, 8),
    ("discard", "v", 2),
    ("write", "v", 3, 12),
    ("snapshot", "v", "s1"),
    ("wait", "s1"),
    ("drop", "v"),
    ("create", "w", "s1"),
    ("part", "w", 0, 5),
    ("write", "w", 2, 16),
    ("hold",),
    ("snapshot", "w", "s2"),
    ("write", "w", 0, 20),
    ("write", "w", 1, 24),
    ("delete", "s1"),
    ("go",),
    ("wait", "s2"),
    ("part", "w", 3, 9),
    ("flush", "w"),
    ("discard", "w", 1),
    ("delete", "s2"),
    ("load", "w"),
    ("write", "w", 3, 28),
]

SETS: list[Line] = [
    ("create", "v"),
    ("create", "w"),
    ("write", "v", 0, 4),
    ("write", "w", 0, 8),
    ("hold",),
    ("snapshot", "v", "w", "s1", "s2"),
    ("write", "v", 0, 12),
    ("write", "w", 0, 16),
    ("go",),
    ("wait", "s1", "s2"),
    ("drop", "w"),
    ("write", "v", 1, 20),
]

BESIDE: list[Line] = [
    ("create", "v"),
    ("write", "v", 0, 4),
    ("write", "v", 1, 8),
    ("flush", "v"),
    ("write", "v", 2, 12),
    ("hold",),
    ("duplicate", "v", "c"),
    ("write", "v", 0, 16),
    ("part", "v", 1, 9),
    ("snapshot", "v", "s1"),
    ("discard", "v", 2),
    ("write", "v", 0, 20),
    ("write", "v", 3, 24),
    ("flush", "v"),
    ("go",),
    ("duplicated", "c"),
    ("wait", "s1"),
    ("write", "c", 1, 28),
    ("create", "w", "s1"),
    ("part", "w", 0, 5),
    ("hold",),
    ("duplicate", "w", "d"),
    ("write", "w", 1, 32),
    ("part", "w", 0, 9),
    ("drop", "w"),
    ("go",),
    ("duplicated", "d"),
]
"""Copies of volumes that are written to, loaded and deleted meanwhile."""

STORIES = {"writes": WRITES, "pending": PENDING, "loading": LOADING, "sets": SETS}

LEFT: list[Line] = [
    ("create", "v"),
    ("write", "v", 0, 4),
    ("snapshot", "v", "s1"),
    ("wait", "s1"),
    ("write", "v", 1, 8),
    ("hold",),
    ("snapshot", "v", "s2"),
    ("write", "v", 0, 12),
    ("write", "v", 1, 16),
    ("leave",),
]
"""The store is closed and a snapshot stays pending."""

SCANS: list[Line] = [
    ("scan", "d", "s1", 4, 8, 0, 12),
    ("scan", "d", "s2", 4, 16, 0, 12),
    ("tag", "s1", "told", "a"),
    ("delete", "s1"),
    ("scan", "e", "s3", 20, 8),
    ("register", "image-one", "s3"),
    ("reopen",),
    ("scan", "d", "s4", 24, 16, 5, 12),
    ("delete", "s2"),
    ("reopen",),
    ("tag", "s4", "told", "c"),
    ("reopen",),
    ("scan", "e", "s5", 20, 28),
    ("compact",),
    ("deregister", "image-one"),
    ("prune", "e", 1),
    ("tag", "s5", "told", "b"),
    ("scan", "d", "s6", 4, 8, 12, 32),
]
"""Snapshots of disks, and what becomes of them. It has no volumes."""

FILES: list[Line] = [
    ("scan", "d", "s1", 4, 8, 0, 12),
    ("scan", "d", "s2", 4, 16, 5, 12),
    ("restore", "s1", "new"),
    ("restore", "s2", "new"),
    ("restore", "s1", "new", "in place"),
    ("delete", "s1"),
    ("rebuild",),
    ("restore", "s2", "other"),
    ("scan", "d", "s3", 4, 16, 5, 20),
    ("rebuild",),
]
"""What needs real files: restores and rebuilds."""

REPAIRED: list[Line] = [
    ("create", "v"),
    ("write", "v", 0, 4),
    ("write", "v", 1, 8),
    ("part", "v", 2, 5),
    ("flush", "v"),
    ("snapshot", "v", "s1"),
    ("wait", "s1"),
    ("scan", "d", "s2", 4, 12, 16),
    ("damage", "payloads", 4, 8),
    ("repair",),
    ("scan", "d", "s3", 4, 20, 16),
    ("damage", "heads"),
    ("repair",),
    ("delete", "s2"),
    ("reopen",),
    ("damage", "metadata"),
    ("repair",),
]
"""Damage that a store heals by itself: from a volume, from damaged records, from its catalog."""

COPIED: list[Line] = [
    ("scan", "d", "s1", 4, 8, 0, 12),
    ("scan", "e", "s2", 16, 12),
    ("damage", "payloads", 8, 12),
    ("repair", "from"),
    ("delete", "s1"),
    ("damage", "metadata"),
    ("repair",),
    ("rebuild",),
    ("damage", "payloads", 16),
    ("repair", "from"),
]
"""Damage that is healed from another store, and a rebuild of what was repaired."""

LATER: list[Line] = [
    ("create", "v"),
    ("write", "v", 0, 4),
    ("write", "v", 1, 8),
    ("flush", "v"),
    ("snapshot", "v", "s1"),
    ("wait", "s1"),
    ("tag", "s1", "told", "a"),
    ("reopen",),
    ("create", "w", "s1"),
    ("part", "w", 1, 5),
    ("part", "w", 0, 9),
    ("flush", "w"),
    ("register", "image-one", "s1"),
    ("snapshot", "w", "s2"),
    ("write", "v", 0, 12),
    ("close", "v"),
    ("write", "v", 1, 16),
    ("wait", "s2"),
    ("delete", "s2"),
    ("deregister", "image-one"),
    ("compact",),
    ("load", "w"),
    ("drop", "v"),
    ("delete", "s1"),
]
"""Volumes whose files and blocks change hands."""

ALL_STORIES = {
    **STORIES,
    "left": LEFT,
    "scans": SCANS,
    "later": LATER,
    "beside": BESIDE,
    "repaired": REPAIRED,
    "files": FILES,
    "copied": COPIED,
    "sealed": SEALED,
    "binned": BINNED,
    "brought back": BROUGHT_BACK,
}
REAL_ONLY = ("files", "copied", "brought back")
"""Stories that need real files."""


class StoryMaker(KeptMaker):
    """Makes a story by chance.

    Args:
        chance: The chance.
        real: Whether there are real files, to restore to.
    """

    def __init__(self, chance: random.Random, *, real: bool = False) -> None:
        super().__init__()
        self._chance = chance
        self._real = real
        self._count = 0
        self._volumes: list[str] = []
        self._waited: list[str] = []
        self._scanned: dict[str, list[str]] = {}
        self._pending: list[str] = []
        self._images: dict[str, str] = {}
        self._files: set[str] = set()
        self._held = False
        self._copying: list[str] = []

    def make(self, lines: int) -> list[Line]:
        """Return a story of so many lines, or a few more."""
        verbs = [name.removeprefix("_make_") for name in dir(self) if name.startswith("_make_")]
        verbs += ["write", "write", "write", "part", "scan", "snapshot", "flush"]
        story: list[Line] = []
        while len(story) < lines:
            story += getattr(self, f"_make_{self._chance.choice(verbs)}")()
        return [*story, *self._make_duplicated()]

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"

    def _block(self) -> int:
        return self._chance.randrange(4)

    def _number(self) -> int:
        return self._chance.choice((0, 1, 4, 5, 8, 9, 12, 16, 20, 24, 28, 32, 36, 40))

    def _for(self, volume: str) -> int:
        """Return a content; for an encrypted volume maybe one that must not be seen."""
        secret = volume in self._sealed and self._chance.random() < 0.5
        return self._secret() if secret else self._number()

    def _free(self) -> list[str]:
        """Return the snapshots that may be deleted."""
        return [name for name in self._waited if name not in self._images.values()]

    def _make_create(self) -> list[Line]:
        if len(self._volumes) >= 2:
            return []
        origin = self._chance.choice([*self._waited, None])
        self._volumes.append(name := self._name("v"))
        return [("create", name) if origin is None else ("create", name, origin)]

    def _make_write(self) -> list[Line]:
        return [("write", each, self._block(), self._for(each)) for each in self._some_volume()]

    def _make_part(self) -> list[Line]:
        return [("part", each, self._block(), self._for(each)) for each in self._some_volume()]

    def _make_discard(self) -> list[Line]:
        return [("discard", each, self._block()) for each in self._some_volume()]

    def _make_flush(self) -> list[Line]:
        return [("flush", each) for each in self._some_volume()]

    def _make_close(self) -> list[Line]:
        return [("close", each) for each in self._some_volume()]

    def _make_load(self) -> list[Line]:
        return [("load", each) for each in self._some_volume()]

    def _make_hold(self) -> list[Line]:
        self._held = not self._held
        return [("hold",) if self._held else ("go",)]

    def _make_snapshot(self) -> list[Line]:
        if len(self._pending) > 2 or not self._volumes:
            return []
        volumes = self._volumes if self._chance.random() < 0.3 else self._some_volume()
        names = [self._name("s") for _ in volumes]
        self._pending += names
        return [("snapshot", *volumes, *names)]

    def _make_contended(self) -> list[Line]:
        """Write while a snapshot is pending to what it has to see as it was."""
        if len(self._pending) > 2 or not self._volumes:
            return []
        self._held = True
        volume, block, name = self._chance.choice(self._volumes), self._block(), self._name("s")
        self._pending.append(name)
        first, second = self._chance.sample((4, 5, 8, 9, 12, 16, 20, 24), 2)
        begun: list[Line] = [("write", volume, block, first), ("hold",)]
        return [*begun, ("snapshot", volume, name), ("write", volume, block, second)]

    def _make_duplicate(self) -> list[Line]:
        """Copy a volume that is written to before its blocks are read."""
        free = [name for name in self._volumes if name not in self._sealed]
        if self._copying or len(self._volumes) > 2 or not free:
            return []
        self._held = True
        volume, block = self._chance.choice(free), self._block()
        self._copying.append(name := self._name("v"))
        begun: list[Line] = [("write", volume, block, self._number()), ("hold",)]
        begun += [("duplicate", volume, name), ("write", volume, block, self._number())]
        return [*begun, *self._make_write(), *self._make_discard()]

    def _make_duplicated(self) -> list[Line]:
        """End the copying of a volume."""
        copied, self._copying = self._copying, []
        self._volumes += copied
        self._held = self._held and not copied
        return [("duplicated", name) for name in copied]

    def _make_wait(self) -> list[Line]:
        waited, self._pending, self._held = self._pending, [], False
        self._waited += waited
        return [("wait", *waited)] if waited else []

    def _make_delete(self) -> list[Line]:
        if not self._free():
            return []
        self._waited.remove(gone := self._chance.choice(self._free()))
        for names in self._scanned.values():
            if gone in names:
                names.remove(gone)
        return [("delete", gone)]

    def _make_scan(self) -> list[Line]:
        disk = self._chance.choice(("d", "e"))
        numbers = [self._number() for _ in range(3)]
        self._waited.append(name := self._name("s"))
        self._scanned.setdefault(disk, []).append(name)
        return [("scan", disk, name, *numbers)]

    def _make_prune(self) -> list[Line]:
        for disk, names in self._scanned.items():
            if len(names) > 1 and not set(names) & set(self._images.values()):
                self._waited = [name for name in self._waited if name not in names[:-1]]
                del names[:-1]
                return [("prune", disk, 1)]
        return []

    def _make_tag(self) -> list[Line]:
        name = self._chance.choice([*self._waited, ""])
        return [("tag", name, "told", self._chance.choice("abc"))] if name else []

    def _make_register(self) -> list[Line]:
        if not self._waited:
            return []
        self._images[image := self._name("image")] = self._chance.choice(self._waited)
        return [("register", image, self._images[image])]

    def _make_deregister(self) -> list[Line]:
        if not self._images:
            return []
        del self._images[image := self._chance.choice(list(self._images))]
        return [("deregister", image)]

    def _make_compact(self) -> list[Line]:
        """Compact, mostly with what was written before sealed, so that there is something to do."""
        begun = self._make_reopen() if self._chance.random() < 0.7 else []
        return [*begun, ("compact",)]

    def _make_drop(self) -> list[Line]:
        if self._pending or len(self._volumes) < 2:
            return []
        self._volumes.remove(gone := self._chance.choice(self._volumes))
        return [("drop", gone)]

    def _closed(self) -> list[Line]:
        """Return the lines after which no volume is open and no snapshot pending."""
        return self._make_reopen()

    def _make_reopen(self) -> list[Line]:
        copied = self._make_duplicated()
        self._waited += self._pending
        self._pending, self._held = [], False
        return [*copied, ("reopen",)]

    def _make_leave(self) -> list[Line]:
        copied = self._make_duplicated()
        self._held = False
        return [*copied, ("leave",), ("return",)]

    def _make_repair(self) -> list[Line]:
        """Damage what is stored, and repair it. No snapshot is copied meanwhile: it would fail."""
        kind = self._chance.choice(("heads", "metadata", *(["payloads"] * self._real)))
        ended = [*self._make_duplicated(), *self._make_wait()]
        if kind != "payloads":
            return [*ended, ("damage", kind), ("repair",)]
        numbers = sorted({self._number(), self._number()})
        return [*ended, ("damage", kind, *numbers), ("repair", "from")]

    def _make_rebuild(self) -> list[Line]:
        if not self._real:
            return []
        return [*self._make_reopen()[:-1], ("rebuild",)]

    def _make_restore(self) -> list[Line]:
        scanned = [name for names in self._scanned.values() for name in names]
        if not self._real or not scanned:
            return []
        file = self._chance.choice(("one", "two"))
        again = file in self._files and self._chance.random() < 0.5
        self._files.add(file)
        return [("restore", self._chance.choice(scanned), file, *(["in place"] if again else []))]

    def _some_volume(self) -> list[str]:
        return [self._chance.choice(self._volumes)] if self._volumes else []
