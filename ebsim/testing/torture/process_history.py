"""What several processes did to one store, as each of them wrote it down, and what it must mean.

Each process appends lines to a log of its own: what it is going to do, and how that ended. A line
outlives the process. An operation without an end is of unknown outcome: it happened, or it did not.
Moments are of the machine's monotonic clock, which all processes share; an operation that ended
before another began came before it.

Each snapshot's description says what the snapshot must hold, so every process can judge all it
reads. This module judges what no single process can see: what is there, and what is gone.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ebsim.testing.torture.campaign import Violation

BLOCKS = 6
"""How many blocks sources have, and how many of a volume are used."""

ACCOUNTS = ("111122223333", "444455556666")
"""For which the processes use the store, by turns of their places."""

Contents = tuple[int, ...]
"""Blocks, as numbers of the palette."""

Line = dict[str, Any]


def account_of(place: int) -> str:
    """Return the account for which the processes in a place act."""
    return ACCOUNTS[place % len(ACCOUNTS)]


def describe(name: str, contents: Contents) -> str:
    """Return the description of a snapshot: which operation makes it, and what it holds."""
    return f"{name}:{'.'.join(map(str, contents))}"


def parse_description(text: str) -> tuple[str, Contents]:
    """Return which operation made a snapshot, and what it must hold."""
    name, _, numbers = text.partition(":")
    return name, tuple(int(each) for each in numbers.split("."))


class Log:
    """The log of one process and those that take its place.

    What a process was writing when it was killed is cut off: it had not begun, or its end is not
    known.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._fd, path.read_bytes().rfind(b"\n") + 1)

    def append(self, **line: object) -> None:
        """Add a line, whole; it outlives the process."""
        os.write(self._fd, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    @staticmethod
    def read(path: Path) -> list[Line]:
        """Return all whole lines so far."""
        if not path.exists():
            return []
        whole, _, _ = path.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation.

    Attributes:
        name: Of which process, and the how manieth: `2.17`.
        kind: What was done: create, delete, list, and so on.
        begun: The moment before it began.
        ended: The moment after it ended; None: nobody knows how it did.
        failed: It ended with an error that says that nothing happened.
        given: What it was asked for.
        result: What it returned.
    """

    name: str
    kind: str
    begun: int
    ended: int | None = None
    failed: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether it was reported as done."""
        return self.ended is not None and not self.failed

    @property
    def account(self) -> str:
        """For which account it was done."""
        return account_of(int(self.name.partition(".")[0]))

    def before(self, other: "Operation") -> bool:
        """Whether it ended before the other began."""
        return self.ended is not None and self.ended < other.begun


def operations(lines: Iterable[Line]) -> Iterator[Operation]:
    """Yield the operations that a log tells of."""
    begun: Line | None = None
    for line in lines:
        if line["phase"] == "invoke":
            if begun is not None:
                yield _operation(begun, None)
            begun = line
        else:
            assert begun is not None, "an end follows a beginning"
            assert begun["name"] == line["name"], "a process does one thing at a time"
            yield _operation(begun, line)
            begun = None
    if begun is not None:
        yield _operation(begun, None)


def _operation(begun: Line, ended: Line | None) -> Operation:
    return Operation(
        name=begun["name"],
        kind=begun["kind"],
        begun=begun["at"],
        ended=None if ended is None else ended["at"],
        failed=ended is not None and ended["phase"] == "fail",
        given=begun["given"],
        result=ended["result"] if ended is not None else {},
    )


AT_ONCE = ("create", "copy")
"""What makes a snapshot that is completed when it returns."""


@dataclass(frozen=True, slots=True)
class Final:
    """A snapshot that is there at the end: what it is, or why it is in error."""

    description: str
    completed: bool
    message: str = ""


class Judge:
    """Compares a history with the promises.

    Args:
        history: All operations of all processes.
        descriptions: The description of each snapshot that anybody saw.
    """

    def __init__(self, history: Iterable[Operation], final: Mapping[str, Final]) -> None:
        self._history = list(history)
        self._final = final
        self._creations = {
            str(each.given["description"]): each
            for each in self._history
            if "description" in each.given
        }
        self._made = {
            str(each.result["id"]): each
            for each in self._history
            if each.done and "description" in each.given
        }
        self._deletions = [each for each in self._history if each.kind in ("delete", "prune")]
        self._restores = [
            each for each in self._history if each.kind == "bin_restore" and not each.failed
        ]
        self._archivals = [
            each for each in self._history if each.kind == "archive" and not each.failed
        ]
        self._looks = [each for each in self._history if each.done and "seen" in each.result]

    def judge(self) -> None:
        """Look at everything.

        Raises:
            Violation: A promise was broken.
        """
        for snapshot_id, creation in self._made.items():
            self._judge_made(snapshot_id, creation)
        for look in self._looks:
            for snapshot_id, state in look.result["seen"].items():
                self._judge_look(look, snapshot_id, state)
        for snapshot_id, shown in self._final.items():
            self._judge_final(snapshot_id, shown)
        self._judge_return()

    def _may_delete(self, snapshot_id: str, deletion: Operation) -> bool:
        """Whether a deletion did, or if its end is unknown may, delete a snapshot."""
        if deletion.failed:
            return False
        if deletion.done:
            return snapshot_id in deletion.result["ids"]
        if deletion.kind == "prune":
            made = self._made.get(snapshot_id)
            return made is None or made.given["description"].startswith(deletion.given["scope"])
        return snapshot_id in deletion.given["ids"]

    def _deletions_of(self, snapshot_id: str) -> list[Operation]:
        return [each for each in self._deletions if self._may_delete(snapshot_id, each)]

    def _may_return(self, snapshot_id: str, gone: Operation, by: int | None = None) -> bool:
        """Whether a snapshot may have come back from the bin after it was gone, by a moment."""
        return any(
            snapshot_id in each.given["ids"]
            and (each.ended is None or each.ended > gone.begun)
            and (by is None or each.begun <= by)
            for each in self._restores
        )

    def _is_back(self, snapshot_id: str, before: Operation | None = None) -> bool:
        """Whether a restore from the bin was reported that came after each deletion."""
        deletions = self._deletions_of(snapshot_id)
        return any(
            each.done
            and snapshot_id in each.given["ids"]
            and (before is None or each.before(before))
            and all(deletion.before(each) for deletion in deletions)
            for each in self._restores
        )

    def _judge_made(self, snapshot_id: str, creation: Operation) -> None:
        """What was reported as made is there until somebody deletes it."""
        if self._deletions_of(snapshot_id) and not self._is_back(snapshot_id):
            return
        shown = self._final.get(snapshot_id)
        if shown is None:
            raise Violation(
                f"{snapshot_id} was made by {creation.name} and deleted by nobody, and it is gone"
            )
        if not shown.completed:
            raise Violation(
                f"{snapshot_id} was made by {creation.name}, and at the end it is in error: "
                f"{shown.message}"
            )

    def _judge_look(self, look: Operation, snapshot_id: str, state: str) -> None:
        deletions = self._deletions_of(snapshot_id)
        if state == "missing":
            deleted = any(each.begun <= (look.ended or 0) for each in deletions)
            if not deleted or self._is_back(snapshot_id, look):
                raise Violation(f"{look.name} missed {snapshot_id}, which nobody had deleted")
            return
        for deletion in deletions:
            at_once = self._was_completed(snapshot_id, deletion)
            back = self._may_return(snapshot_id, deletion, look.ended)
            if not deletion.done or not deletion.before(look) or back:
                continue
            if state == "completed" and at_once:
                raise Violation(
                    f"{look.name} saw {snapshot_id}, which {deletion.name} had deleted before"
                )
        made = self._made.get(snapshot_id)
        if state == "unready" and self._may_be_archived(snapshot_id, look):
            return
        if made and made.kind in AT_ONCE and made.before(look) and state != "completed":
            raise Violation(f"{look.name} saw {snapshot_id} {state}, which was completed before")

    def _may_be_archived(self, snapshot_id: str, look: Operation) -> bool:
        return any(
            snapshot_id in each.given["ids"] and each.begun <= (look.ended or 0)
            for each in self._archivals
        )

    def _was_completed(self, snapshot_id: str, deletion: Operation) -> bool:
        """Whether a snapshot was completed before a deletion, which then takes effect at once.

        That of a pending one takes effect after its completion (semantics section 1.3).
        """
        made = self._made.get(snapshot_id)
        if made and made.kind in AT_ONCE and made.before(deletion):
            return True
        return any(
            each.before(deletion) and each.result["seen"].get(snapshot_id) == "completed"
            for each in self._looks
        )

    def _judge_final(self, snapshot_id: str, shown: Final) -> None:
        """What is there was asked for, and is not what was deleted."""
        creation = self._creations.get(shown.description)
        if creation is None:
            raise Violation(f"{snapshot_id} ({shown.description}) is there, and nobody made it")
        if creation.done and creation.result["id"] != snapshot_id:
            raise Violation(f"{creation.name} made {snapshot_id} too, and told of another id")
        if creation.failed and shown.completed:
            raise Violation(f"{creation.name} failed, and {snapshot_id} is there and completed")
        for deletion in self._deletions_of(snapshot_id):
            if deletion.done and not self._may_return(snapshot_id, deletion):
                raise Violation(f"{snapshot_id} is there, which {deletion.name} had deleted")

    def _judge_return(self) -> None:
        """What was seen to be gone is never seen again; lists are whole."""
        gone: dict[str, Operation] = {}
        for look in sorted(self._looks, key=lambda each: each.ended or 0):
            for snapshot_id, state in look.result["seen"].items():
                if state == "missing":
                    gone.setdefault(snapshot_id, look)
            if look.kind == "list":
                for snapshot_id in self._expected(look) - look.result["seen"].keys():
                    raise Violation(f"{look.name} listed all snapshots, and {snapshot_id} lacks")
        for look in self._looks:
            for snapshot_id, state in look.result["seen"].items():
                earlier = gone.get(snapshot_id)
                if not earlier or state == "missing" or not earlier.before(look):
                    continue
                if not self._may_return(snapshot_id, earlier, look.ended):
                    raise Violation(
                        f"{earlier.name} found {snapshot_id} gone, and {look.name} saw it again"
                    )

    def _expected(self, look: Operation) -> set[str]:
        """Return what a list must have: made before it, and not deleted until it ended."""
        return {
            snapshot_id
            for snapshot_id, made in self._made.items()
            if made.before(look)
            and made.account == look.account
            and not any(each.begun <= (look.ended or 0) for each in self._deletions_of(snapshot_id))
        }
