"""What was tortured so far: a file that says which cases are done, so that a run can go on.

The file is `torture-SEED.json` in a folder that the user names. It is written whole and renamed, so
it is always one that was true a moment ago; a case that was done after it is done again. It belongs
to one seed and to one state of ebsim's sources: figures of different sources are not added up.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import ebsim


@dataclass(frozen=True, slots=True)
class Found:
    """A violation, or a fault of the campaign itself."""

    campaign: str
    case: int
    violation: bool
    message: str


@dataclass(slots=True)
class CampaignState:
    """How far a campaign is.

    Attributes:
        cases: How many it has; another number begins it anew.
        prefix: So many positions, from the first on, are done.
        beyond: Positions behind them that are done.
        trials: What the cases that are done consisted of.
        seconds: How long it was run for, in all.
        missing: Why it could not be run; empty if it could.
        found: Its violations, and what went wrong otherwise.
    """

    cases: int
    prefix: int = 0
    beyond: set[int] = field(default_factory=set)
    trials: int = 0
    seconds: float = 0.0
    missing: str = ""
    found: list[Found] = field(default_factory=list)

    @property
    def done(self) -> int:
        """How many cases are done."""
        return self.prefix + len(self.beyond)

    @property
    def violations(self) -> int:
        """How many cases broke a promise."""
        return sum(each.violation for each in self.found)

    def remaining(self) -> Iterator[int]:
        """Yield the positions that are not done."""
        return (each for each in range(self.prefix, self.cases) if each not in self.beyond)

    def add(self, position: int, trials: int) -> None:
        """Note that the case at a position is done."""
        self.beyond.add(position)
        self.trials += trials
        while self.prefix in self.beyond:
            self.beyond.remove(self.prefix)
            self.prefix += 1


def case_order(cases: int) -> list[int]:
    """Return the numbers of all cases in an order that is spread, wherever the run is stopped."""
    digits = (cases - 1).bit_length()
    if digits == 0:
        return [0]
    mirrored = (int(f"{each:0{digits}b}"[::-1], 2) for each in range(1 << digits))
    return [each for each in mirrored if each < cases]


def spread(cases: int, count: int) -> list[int]:
    """Return so many of the cases, evenly spread."""
    wanted = min(cases, count)
    return [each * cases // wanted for each in range(wanted)]


def source_digest() -> str:
    """Return a digest of ebsim's sources as they are on disk now."""
    folder = Path(ebsim.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@dataclass(slots=True)
class TortureState:
    """What was done with one seed, in all campaigns."""

    seed: int
    sources: str
    campaigns: dict[str, CampaignState] = field(default_factory=dict)

    def of(self, name: str, cases: int) -> CampaignState:
        """Return how far a campaign is; it begins anew if it has another number of cases now."""
        known = self.campaigns.get(name)
        if known is None or known.cases != cases:
            known = self.campaigns[name] = CampaignState(cases)
        return known

    @classmethod
    def load(cls, folder: Path | None, seed: int, *, fresh: bool = False) -> Self:
        """Return what the folder says, or the beginning if it says nothing of these sources.

        Violations stay; what was a fault of a campaign is forgotten, and its case done again.
        """
        state = cls(seed, source_digest())
        path = state.path(folder)
        if path is None or fresh or not path.is_file():
            return state
        document: dict[str, Any] = json.loads(path.read_text())
        if document["sources"] == state.sources:
            for name, each in document["campaigns"].items():
                found = [Found(**one) for one in each.pop("found") if one["violation"]]
                beyond = set(each.pop("beyond"))
                state.campaigns[name] = CampaignState(**each, beyond=beyond, found=found)
        return state

    def save(self, folder: Path | None) -> None:
        """Write the file, whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        path = self.path(folder)
        if path is None:
            return
        document = asdict(self)
        for each in document["campaigns"].values():
            each["beyond"] = sorted(each["beyond"])
        new = path.with_suffix(".new")
        new.write_text(json.dumps(document, indent=1) + "\n")
        new.rename(path)

    def path(self, folder: Path | None) -> Path | None:
        """Return where it is kept; None: nowhere."""
        return None if folder is None else folder / f"torture-{self.seed}.json"
