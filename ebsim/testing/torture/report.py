"""What is told of a run: lines on a terminal, JSON, and the table of figures in a document."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import ebsim
from ebsim.clock import Clock, SystemClock
from ebsim.testing.torture.campaign import Campaign
from ebsim.testing.torture.run import Options
from ebsim.testing.torture.state import CampaignState, Found, TortureState

BEGIN = "<!-- torture: begin -->"
END = "<!-- torture: end -->"
_REDRAW_S = 0.2
_HEAD = ("Campaign", "Cases", "Trials", "Violations", "Wall time", "Promise", "Does not cover")


class TerminalWatcher:
    """Shows how a run is going: a line that is drawn again on a terminal, else one at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._drawn_s = 0.0
        self._begun: dict[str, tuple[float, int]] = {}

    def advanced(self, campaign: Campaign, state: CampaignState) -> None:
        """Draw the line again, if it is time."""
        now = time.monotonic()
        begun, before = self._begun.setdefault(campaign.name, (now, state.done - 1))
        if self._is_terminal and now - self._drawn_s >= _REDRAW_S:
            self._drawn_s = now
            rate = (state.done - before) / max(now - begun, 0.001)
            left = duration((state.cases - state.done) / rate)
            self._stream.write(f"\r\x1b[K{line(campaign.name, state)}, about {left} left")
            self._stream.flush()

    def ended(self, campaign: Campaign, state: CampaignState) -> None:
        """Write the line for good."""
        start = "\r\x1b[K" if self._is_terminal else ""
        self._stream.write(f"{start}{line(campaign.name, state)}\n")
        self._stream.flush()


class SilentWatcher:
    """Shows nothing."""

    def advanced(self, campaign: Campaign, state: CampaignState) -> None:
        """Do nothing."""

    def ended(self, campaign: Campaign, state: CampaignState) -> None:
        """Do nothing."""


def line(name: str, state: CampaignState) -> str:
    """Return in one line how far a campaign is."""
    if state.missing:
        return f"{name}: not run: {state.missing}"
    return (
        f"{name}: {state.done:,} of {state.cases:,} cases, {state.trials:,} trials, "
        f"{plural(state.violations, 'violation')}"
    )


def duration(seconds: float) -> str:
    """Return a time for people, such as `4 min 7 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def plural(count: int, noun: str) -> str:
    """Return `1 case`, `2 cases`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def verdict(state: TortureState, options: Options) -> str:
    """Return what a run came to: violations with how to see each again, or that there are none."""
    found = [each for campaign in state.campaigns.values() for each in campaign.found]
    if found:
        return "\n".join(_tell(each, options) for each in found)
    left = [
        name
        for name, each in state.campaigns.items()
        if each.done < each.cases and not each.missing
    ]
    absent = [name for name, each in state.campaigns.items() if each.missing]
    not_run = f" Not run here: {', '.join(absent)}." if absent else ""
    if left:
        return f"No violation so far. Run it again to go on with {', '.join(left)}.{not_run}"
    return f"No violation.{not_run}"


def _tell(found: Found, options: Options) -> str:
    what = "VIOLATION" if found.violation else "FAULT OF THE CAMPAIGN (no verdict on the store)"
    where = f"{found.campaign}, case {found.case}" if found.case >= 0 else f"{found.campaign}"
    return f"{what} in {where}:\n{found.message}\n  see it again: {again(found, options)}"


def again(found: Found, options: Options) -> str:
    """Return the command that runs a case alone."""
    case = f" --case {found.case}" if found.case >= 0 else ""
    module = f" --campaigns {options.module}" if not options.module.startswith("ebsim.") else ""
    command = f"python -m ebsim.testing.torture --only {found.campaign}{case}"
    return f"{command} --seed {options.seed}{module}"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Where and when figures were measured; no names of machines or folders."""

    date: str
    commit: str
    seed: int
    machine: str
    jobs: int

    @classmethod
    def now(cls, options: Options, clock: Clock | None = None) -> "Circumstances":
        """Return those of this moment."""
        moment = datetime.fromtimestamp((clock or SystemClock()).now_us() / 1e6, UTC)
        kernel = ".".join(platform.release().split(".")[:2])
        cores = len(os.sched_getaffinity(0))
        machine = (
            f"{plural(cores, 'core')}, {platform.machine()}, {platform.system()} {kernel}, "
            f"Python {platform.python_version()}"
        )
        return cls(f"{moment:%Y-%m-%d}", commit(), options.seed, machine, options.jobs)


def commit() -> str:
    """Return the commit of the sources, as far as that is known."""
    git = shutil.which("git")
    folder = Path(ebsim.__file__).parent
    if git is None:
        return "unknown"

    def ask(*words: str) -> str:
        command = [git, "-C", str(folder), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        return done.stdout.strip() if done.returncode == 0 else ""

    known = ask("rev-parse", "--short=12", "HEAD")
    changed = " and changes" if known and ask("status", "--porcelain", "--", ".") else ""
    return f"{known}{changed}" if known else "unknown"


def json_document(
    state: TortureState, campaigns: Sequence[Campaign], options: Options
) -> dict[str, object]:
    """Return all that is known of a run, for programs."""
    here = Circumstances.now(options)
    return {
        "Date": here.date,
        "Commit": here.commit,
        "Seed": here.seed,
        "Machine": here.machine,
        "Jobs": here.jobs,
        "Campaigns": [
            _json_campaign(campaign, state, options)
            for campaign in campaigns
            if campaign.name in state.campaigns
        ],
    }


def _json_campaign(campaign: Campaign, state: TortureState, options: Options) -> dict[str, object]:
    known = state.campaigns[campaign.name]
    return {
        "Name": campaign.name,
        "Promise": campaign.promise,
        "DoesNotCover": campaign.excludes,
        "Cases": known.cases,
        "Done": known.done,
        "Trials": known.trials,
        "Violations": known.violations,
        "Seconds": round(known.seconds, 1),
        "NotRun": known.missing or None,
        "Findings": [
            {
                "Case": each.case,
                "Violation": each.violation,
                "Message": each.message,
                "Again": again(each, options),
            }
            for each in known.found
        ],
    }


def write_json(document: dict[str, object]) -> None:
    """Write a document to standard output."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def figures(state: TortureState, campaigns: Sequence[Campaign], here: Circumstances) -> str:
    """Return the table of figures, in Markdown."""
    rows = [
        _row(campaign, state.campaigns[campaign.name])
        for campaign in campaigns
        if campaign.name in state.campaigns
    ]
    intro = (
        f"{here.date}, commit {here.commit}, seed {here.seed}, {plural(here.jobs, 'job')} "
        f"at once on {here.machine}.\n"
    )
    table = [_HEAD, ("---",) * len(_HEAD), *rows]
    return intro + "\n" + "\n".join(f"| {' | '.join(row)} |" for row in table) + "\n"


def _row(campaign: Campaign, known: CampaignState) -> tuple[str, ...]:
    cases = f"{known.done:,}"
    if known.missing:
        cases = f"none: {known.missing}"
    elif known.done < known.cases:
        cases = f"{known.done:,} of {known.cases:,}"
    return (
        f"`{campaign.name}`",
        cases,
        f"{known.trials:,}",
        f"{known.violations:,}",
        duration(known.seconds),
        campaign.promise,
        campaign.excludes,
    )


def write_document(path: Path, table: str) -> None:
    """Put the table between the markers of a document.

    Raises:
        ValueError: The document has not both markers, in their order.
        OSError: It cannot be read or written.
    """
    text = path.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no lines {BEGIN} and {END} between which figures belong")
    new = path.with_name(f".{path.name}.new")
    new.write_text(f"{before}{BEGIN}\n{table}{END}{after}")
    new.replace(path)
