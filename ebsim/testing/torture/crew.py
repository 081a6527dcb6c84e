"""The processes that run a campaign's cases: started for it, fed by pipes, replaced by none.

Each prepares the campaign for itself in a folder of its own, and then runs the cases it is given.
A process that dies is a fault of the campaign at the case it was running. When the parent is gone,
the pipe is closed, and the process cleans up after its case and ends.
"""

import faulthandler
import importlib
import multiprocessing
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import cast

from ebsim.testing.seams import fast_folder
from ebsim.testing.torture.campaign import Campaign, RunCase, Violation

PATIENCE_S = 1800
"""A case that takes longer hangs. Its process ends, and says where it was."""

_GOODBYE_S = 30


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case ended.

    Attributes:
        case: Its number; -1: it ended while it was prepared.
        trials: What it consisted of.
        violation: What promise was broken; empty: none.
        fault: What went wrong with the campaign itself; empty: nothing.
    """

    case: int
    trials: int = 0
    violation: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a process needs to know: everything but the numbers of its cases."""

    module: str
    campaign: str
    seed: int
    folder: Path
    patience_s: float


@dataclass(slots=True)
class Member:
    """A process, and what it is doing."""

    process: BaseProcess
    pipe: Connection
    folder: Path
    case: int = -1


def find_campaigns(module: str) -> tuple[Campaign, ...]:
    """Return the campaigns that a module lists as `ALL`.

    Raises:
        ImportError: There is no such module.
    """
    return cast("tuple[Campaign, ...]", importlib.import_module(module).ALL)


@contextmanager
def crew(
    module: str, campaign: str, seed: int, jobs: int, work: Path | None
) -> Iterator[list[Member]]:
    """Start processes for a campaign; in the end they are gone, and so are their folders."""
    spawn = multiprocessing.get_context("spawn")
    members: list[Member] = []
    try:
        for _ in range(jobs):
            ours, theirs = spawn.Pipe()
            folder = fast_folder(work)
            assignment = Assignment(module, campaign, seed, folder, PATIENCE_S)
            process = spawn.Process(target=serve, args=(theirs, assignment))
            members.append(Member(process, ours, folder))
            process.start()
            theirs.close()
        yield members
    except BaseException:
        for member in members:
            member.process.terminate()
        raise
    finally:
        _dismiss(members)


def outcomes(members: list[Member], next_case: Callable[[], int | None]) -> Iterator[Outcome]:
    """Feed the processes until `next_case` has no more, and yield how each case ended."""
    by_pipe = {member.pipe: member for member in members}
    while by_pipe:
        for ready in wait(list(by_pipe)):
            member = by_pipe[cast("Connection", ready)]
            try:
                outcome = member.pipe.recv()
            except (EOFError, OSError):
                del by_pipe[member.pipe]
                member.process.join()
                yield Outcome(member.case, fault=_death(member))
                continue
            if outcome is not None:
                yield outcome
            following = next_case()
            if following is None or (outcome is not None and outcome.case < 0):
                del by_pipe[member.pipe]
            else:
                member.case = following
                member.pipe.send(following)


def _death(member: Member) -> str:
    code = member.process.exitcode or 0
    how = f"signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"exit status {code}"
    return f"the process that ran it ended by {how}"


def _dismiss(members: list[Member]) -> None:
    """Close the pipes, so that the processes clean up and end; end those that do not."""
    for member in members:
        member.pipe.close()
    for member in members:
        for end in (None, member.process.terminate, member.process.kill):
            if end is not None:
                end()
            member.process.join(_GOODBYE_S)
            if not member.process.is_alive():
                break
        shutil.rmtree(member.folder, ignore_errors=True)


# In each process


def serve(pipe: Connection, assignment: Assignment) -> None:
    """Prepare, say so, and run cases until the parent has no more.

    An interrupt from the terminal reaches all processes: the parent decides, and tells us once.
    """
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt, EOFError, BrokenPipeError, ConnectionResetError):
        try:
            _serve(pipe, assignment)
        finally:
            faulthandler.cancel_dump_traceback_later()
            shutil.rmtree(assignment.folder, ignore_errors=True)


def _serve(pipe: Connection, assignment: Assignment) -> None:
    (campaign,) = (
        each for each in find_campaigns(assignment.module) if each.name == assignment.campaign
    )
    try:
        faulthandler.dump_traceback_later(assignment.patience_s, exit=True)
        with campaign.prepare(assignment.seed, assignment.folder) as run_case:
            pipe.send(None)
            while True:
                faulthandler.cancel_dump_traceback_later()
                number = pipe.recv()
                faulthandler.dump_traceback_later(assignment.patience_s, exit=True)
                pipe.send(judge(run_case, number))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except Exception:  # noqa: BLE001 - the parent tells it
        pipe.send(Outcome(-1, fault=traceback.format_exc()))


def judge(run_case: RunCase, number: int) -> Outcome:
    """Run a case, and return how it ended."""
    try:
        return Outcome(number, trials=run_case(number))
    except Violation as violation:
        return Outcome(number, violation=str(violation) or "it does not say which promise")
    except Exception:  # noqa: BLE001 - the parent tells it
        return Outcome(number, fault=traceback.format_exc())
