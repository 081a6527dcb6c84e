"""Stories of what is encrypted, shared, copied, archived or in the Recycle Bin, and their making.

What the lines mean is said in `ebsim.testing.kept_story`.
"""

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from ebsim.testing.kept_story import DEFAULT, SECRETS

Lines = list[Any]

SEALED: Lines = [
    ("key", "A"),
    ("key", "B"),
    ("seal", "v", "A"),
    ("write", "v", 0, 100),
    ("part", "v", 1, 104),
    ("flush", "v"),
    ("snapshot", "v", "s1"),
    ("wait", "s1"),
    ("keep", "k1", "a", "A", 108, 112, 5),
    ("share", "k1"),
    ("copy", "k2", "k1", "A"),
    ("copy", "k3", "k1", "B"),
    ("copy", "k4", "k1", "abroad"),
    ("close", "v"),
    ("disable", "A"),
    ("enable", "A"),
    ("build", "w", "k3", "A"),
    ("part", "w", 0, 116),
    ("flush", "w"),
    ("rotate", "A"),
    ("remove", "k1"),
    ("copy", "k5", "k2", "here"),
    ("share", "k2"),
    ("unshare", "k2"),
    ("reopen",),
    ("compact",),
    ("load", "w"),
    ("delete", "s1"),
]
"""Encrypted volumes and disks, under two keys; sharing and copies."""

BINNED: Lines = [
    ("key", "A"),
    ("rule", 7),
    ("keep", "k1", "a", "", 4, 8, 0, 12),
    ("keep", "k2", "b", "A", 100, 104),
    ("keep", "k3", "a", "", 4, 16, 0, 12),
    ("archive", "k1"),
    ("archive", "k2"),
    ("thaw", "k1", 3),
    ("bin", "k3"),
    ("later", 2),
    ("thaw", "k2", 0),
    ("later", 2),
    ("unbin", "k3"),
    ("bin", "k2"),
    ("archive", "k3"),
    ("bin", "k3"),
    ("reopen",),
    ("unbin", "k3"),
    ("later", 8),
    ("thaw", "k1", 0),
    ("compact",),
]
"""The archive and the Recycle Bin, with the clock moved. It has no volumes."""

BROUGHT_BACK: Lines = [
    ("key", "A"),
    ("rule", 7),
    ("seal", "v", "A"),
    ("write", "v", 0, 100),
    ("flush", "v"),
    ("keep", "k1", "a", "A", 104, 108),
    ("keep", "k2", "b", "", 4, 8),
    ("copy", "k3", "k2", "abroad"),
    ("share", "k1"),
    ("archive", "k2"),
    ("copy", "k4", "k1", "here"),
    ("bin", "k4"),
    ("rebuild",),
    ("thaw", "k2", 2),
    ("unbin", "k4"),
    ("write", "v", 1, 112),
    ("later", 3),
    ("rebuild",),
]
"""All of that, and rebuilds, which need real files."""


BEGUN_DAYS = 7
BEGUN: Lines = [
    ("key", "A"),
    ("key", "B"),
    ("rule", BEGUN_DAYS),
    ("keep", "begun1", "x", "A", 100, 104),
    ("keep", "begun2", "y", "", 4, 8),
    ("share", "begun1"),
    ("archive", "begun2"),
    ("copy", "begun3", "begun1", "abroad"),
    ("copy", "begun4", "begun1", "A"),
    ("bin", "begun4"),
]


@dataclass(slots=True)
class _Known:
    """What the maker knows of a kept snapshot; see `ebsim.testing.kept_story.Kept`."""

    key: str
    abroad: bool = False
    shared: bool = False
    archived: bool = False
    expires: int | None = None
    exits: int | None = None
    tagged: bool = False

    @property
    def is_home(self) -> bool:
        return not self.abroad and self.exits is None

    @property
    def shareable(self) -> bool:
        return self.key != DEFAULT

    @property
    def readable(self) -> bool:
        return self.exits is None and (not self.archived or self.expires is not None)


class KeptMaker(ABC):
    """Makes lines about what is kept.

    `ebsim.testing.volume_stories.StoryMaker` adds those about volumes, and what is abstract here.
    """

    _chance: random.Random
    _volumes: list[str]

    def __init__(self) -> None:
        self._kept: dict[str, _Known] = {}
        self._sealed: set[str] = set()
        self._has_keys = False
        self._retention_days = 0
        self._day = 0

    @abstractmethod
    def _name(self, kind: str) -> str:
        """Return a name that nothing has."""

    @abstractmethod
    def _make_wait(self) -> Lines:
        """Return the lines after which no snapshot is pending."""

    @abstractmethod
    def _closed(self) -> Lines:
        """Return the lines after which no volume is open and no snapshot pending."""

    def _secret(self) -> int:
        return self._chance.choice(SECRETS[:10])

    def _keys(self) -> Lines:
        """Return the lines that make the keys, once."""
        if self._has_keys:
            return []
        self._has_keys = True
        return [("key", "A"), ("key", "B")]

    def begin_kept(self) -> Lines:
        """Return lines that have some of everything, for the beginning of a story."""
        self._has_keys, self._retention_days = True, BEGUN_DAYS
        self._kept = {
            "begun1": _Known("A", shared=True),
            "begun2": _Known("", archived=True),
            "begun3": _Known(DEFAULT, abroad=True),
            "begun4": _Known("A", exits=BEGUN_DAYS, tagged=True),
        }
        return [*BEGUN]

    def _some_kept(self, **wanted: object) -> str | None:
        """Draw a kept snapshot with these facts."""
        names = [
            name
            for name, known in self._kept.items()
            if all(getattr(known, fact) == value for fact, value in wanted.items())
        ]
        return self._chance.choice(names) if names else None

    def _make_seal(self) -> Lines:
        if len(self._volumes) >= 2:
            return []
        begun = self._keys()
        self._volumes.append(name := self._name("v"))
        self._sealed.add(name)
        return [*begun, ("seal", name, self._chance.choice("AB")), ("write", name, 0, 100)]

    def _make_build(self) -> Lines:
        origin = self._some_kept(is_home=True, readable=True)
        if origin is None or len(self._volumes) >= 2:
            return []
        begun = self._keys()
        key = self._chance.choice(("", "A", "B"))
        self._volumes.append(name := self._name("v"))
        if key or self._kept[origin].key:
            self._sealed.add(name)
        return [*begun, ("build", name, origin, key)]

    def _make_keep(self) -> Lines:
        begun = self._keys()
        disk, key = self._chance.choice((("a", "A"), ("b", "B"), ("c", "")))
        numbers = [
            self._secret()
            if key and self._chance.random() < 0.7
            else self._chance.choice((0, 4, 5))
            for _ in range(3)
        ]
        self._kept[name := self._name("k")] = _Known(key)
        return [*begun, ("keep", name, disk, key, *numbers)]

    def _make_copy(self) -> Lines:
        source = self._some_kept(is_home=True, readable=True)
        if source is None or len(self._kept) > 6:
            return []
        begun = self._keys()
        how = self._chance.choice(("here", "here", "abroad", "A", "B"))
        known = self._kept[source]
        key = (DEFAULT if known.key else "") if how in ("here", "abroad") else how
        copied = _Known(key, abroad=how == "abroad")
        self._kept[name := self._name("k")] = copied
        return [*begun, ("copy", name, source, how)]

    def _make_share(self) -> Lines:
        name = self._some_kept(is_home=True, archived=False, shareable=True)
        if name is None:
            return []
        self._kept[name].shared = not self._kept[name].shared
        return [("share", name) if self._kept[name].shared else ("unshare", name)]

    def _make_archive(self) -> Lines:
        name = self._some_kept(is_home=True, shared=False, archived=False)
        if name is None:
            return []
        self._kept[name].archived = True
        return [("archive", name)]

    def _make_thaw(self) -> Lines:
        name = self._some_kept(is_home=True, archived=True)
        if name is None:
            return []
        known, days = self._kept[name], self._chance.choice((0, 1, 3))
        known.archived, known.expires = days > 0, self._day + days if days else None
        return [("thaw", name, days)]

    def _make_bin(self) -> Lines:
        name = self._some_kept(is_home=True)
        if name is None:
            return []
        begun: Lines = []
        if not self._retention_days:
            self._retention_days = self._chance.choice((2, 7))
            begun = [("rule", self._retention_days)]
        known = self._kept[name]
        known.exits, known.tagged = self._day + self._retention_days, True
        return [*begun, ("bin", name)]

    def _make_unbin(self) -> Lines:
        binned = [name for name, known in self._kept.items() if known.exits is not None]
        if not binned:
            return []
        self._kept[name := self._chance.choice(binned)].exits = None
        return [("unbin", name)]

    def _make_remove(self) -> Lines:
        name = self._some_kept(is_home=True, tagged=False)
        if name is None:
            return []
        del self._kept[name]
        return [("remove", name)]

    def _make_later(self) -> Lines:
        """Move the clock. Nothing is pending then, so that no line comes between."""
        self._day += (days := self._chance.choice((1, 2, 4)))
        for name, known in list(self._kept.items()):
            if known.exits is not None and known.exits <= self._day:
                del self._kept[name]
            elif known.expires is not None and known.expires <= self._day:
                known.expires = None
        return [*self._make_wait(), ("later", days)]

    def _make_disable(self) -> Lines:
        """Disable a key while nobody uses it; what does not need it goes on meanwhile."""
        if not self._has_keys:
            return []
        key = self._chance.choice("AB")
        between: Lines = []
        if self._chance.random() < 0.5:
            between = self._make_share() + self._make_bin()
        return [*self._closed(), ("disable", key), *between, ("enable", key)]

    def _make_rotate(self) -> Lines:
        return [("rotate", self._chance.choice("AB"))] if self._has_keys else []
