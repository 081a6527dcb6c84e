"""Run the campaigns, or what is left of them.

    python -m ebsim.testing.torture --state FOLDER            all of them, both cores; goes on later
    python -m ebsim.testing.torture --only kills --case 4711 --seed 1         one case again
    python -m ebsim.testing.torture --list

Exit code: 0 nothing was found, 1 a promise was broken, 2 a campaign failed or was misused,
130 interrupted.
"""

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from ebsim.testing.seams import fast_folder
from ebsim.testing.torture.campaign import Campaign, Violation
from ebsim.testing.torture.crew import find_campaigns
from ebsim.testing.torture.report import (
    Circumstances,
    SilentWatcher,
    TerminalWatcher,
    figures,
    json_document,
    verdict,
    write_document,
    write_json,
)
from ebsim.testing.torture.run import Options, run
from ebsim.testing.torture.state import TortureState

OURS = "ebsim.testing.torture.campaigns"
_FOUND, _FAILED, _INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says, and return the exit code."""
    parser = _parser()
    given = parser.parse_args(arguments)
    known = find_campaigns(given.campaigns)
    campaigns = _chosen(parser, known, given.only)
    if given.list:
        _list(campaigns)
        return 0
    if given.case is not None:
        if len(campaigns) != 1:
            parser.error("--case needs --only with the one campaign it is of")
        return run_one(campaigns[0], given.seed, given.case, given.work)
    options = Options(
        module=given.campaigns,
        seed=given.seed,
        jobs=given.jobs,
        minutes=given.minutes,
        state_folder=given.state,
        work=given.work,
        keep_going=given.keep_going,
        fresh=given.fresh,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        watcher = SilentWatcher() if given.json else TerminalWatcher(sys.stderr)
        state = run(options, campaigns, watcher)
    except KeyboardInterrupt:
        kept = "run it again to go on" if options.state_folder else "nothing of it is kept"
        sys.stderr.write(f"\ninterrupted; {kept}\n")
        return _INTERRUPTED
    _tell(state, known, options, given)
    return exit_code(state)


def run_one(campaign: Campaign, seed: int, number: int, work: Path | None) -> int:
    """Run one case here, with all that it prints, and return the exit code."""
    folder = fast_folder(work)
    try:
        with campaign.prepare(seed, folder) as run_case:
            trials = run_case(number)
    except Violation as violation:
        sys.stdout.write(f"VIOLATION in {campaign.name}, case {number}:\n{violation}\n")
        return _FOUND
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(f"{campaign.name}, case {number}: {trials:,} trials, no violation\n")
    return 0


def exit_code(state: TortureState) -> int:
    """Return the exit code that says what was found."""
    found = [each for campaign in state.campaigns.values() for each in campaign.found]
    if any(each.violation for each in found):
        return _FOUND
    return _FAILED if found else 0


def _tell(
    state: TortureState,
    campaigns: Sequence[Campaign],
    options: Options,
    given: argparse.Namespace,
) -> None:
    """Tell of all that the state knows, also of campaigns that an earlier run was for."""
    if given.json:
        write_json(json_document(state, campaigns, options))
    else:
        sys.stdout.write(verdict(state, options) + "\n")
    if given.document is not None:
        write_document(given.document, figures(state, campaigns, Circumstances.now(options)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ebsim.testing.torture",
        description="Try to make a store lose or alter a byte, in campaigns of numbered cases.",
    )
    add = parser.add_argument
    add("--list", action="store_true", help="list the campaigns, with what they promise")
    add("--only", default="", metavar="NAMES", help="these campaigns, with commas between")
    add("--case", type=int, metavar="NUMBER", help="run one case of one campaign, here")
    add("--seed", type=int, default=1, help="decides what each case does (default: 1)")
    add("--jobs", type=_positive, default=len(os.sched_getaffinity(0)), help="processes at once")
    add("--minutes", type=_minutes, help="stop after so long; campaigns share it")
    add("--state", type=_folder, metavar="FOLDER", help="keep there what was done, and go on")
    add("--fresh", action="store_true", help="forget what --state says was done")
    add("--keep-going", action="store_true", help="go on after a violation")
    add("--work", type=_folder, metavar="FOLDER", help="where stores lie (default: in memory)")
    add("--json", action="store_true", help="write what was found as JSON")
    add("--document", type=Path, metavar="FILE", help="write the figures between its markers")
    add("--campaigns", default=OURS, metavar="MODULE", help=f"whose ALL to run (default: {OURS})")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _minutes(text: str) -> float | None:
    """Return so many minutes; nothing for an empty text, so that make may pass one."""
    return float(text) if text else None


def _folder(text: str) -> Path:
    path = Path(text)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _chosen(
    parser: argparse.ArgumentParser, known: Sequence[Campaign], only: str
) -> Sequence[Campaign]:
    names = {name.strip() for name in only.split(",") if name.strip()}
    unknown = sorted(names - {each.name for each in known})
    if unknown:
        there = ", ".join(each.name for each in known) or "none"
        parser.error(f"there is no campaign {', '.join(unknown)}; there are: {there}")
    return [each for each in known if not names or each.name in names]


def _list(campaigns: Sequence[Campaign]) -> None:
    for each in campaigns:
        missing = each.missing()
        sys.stdout.write(f"{each.name}  {each.cases:,} cases, a sample of {each.sample}\n")
        sys.stdout.write(f"  promise   {each.promise}\n  excludes  {each.excludes}\n")
        if missing:
            sys.stdout.write(f"  cannot be run here: {missing}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
