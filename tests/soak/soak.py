"""Soak: writers, snapshotters, a deleter and a restorer on one store, for minutes.

`make soak`, or `python tests/soak/soak.py --seconds 120 --seed 7`. Two variants take turns with the
time: threads on managed volumes (`soak_volumes`), and processes on scanned sources, some of which
are killed (`soak_processes`). Every snapshot is compared with what its volume held at that point in
time. The seed decides what each thread does, not how they meet.
"""

import argparse
import faulthandler
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from soak_processes import run_processes
from soak_volumes import run_volumes

from ebsim.testing.seams import fast_folder

PATIENCE_S = 120
"""So much longer than asked for, and it hangs."""

VARIANTS = ("volumes", "processes")


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for, tell what was done, and return the exit code."""
    parser = argparse.ArgumentParser(prog="soak.py", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="in all (default: 120)")
    parser.add_argument("--seed", type=int, default=1, help="(default: 1)")
    parser.add_argument("--only", choices=VARIANTS, help="one variant; both by default")
    parser.add_argument("--work", type=Path, help="where the store lies; in memory by default")
    options = parser.parse_args(arguments)
    faulthandler.dump_traceback_later(options.seconds + PATIENCE_S, exit=True)
    variants = [options.only] if options.only else VARIANTS
    failed = False
    for variant in variants:
        folder = fast_folder() if options.work is None else options.work / f"{variant}-soak"
        folder.mkdir(exist_ok=True)
        begun = time.monotonic()
        run = run_volumes if variant == "volumes" else run_processes
        state = run(folder, options.seconds / len(variants), options.seed)
        show(variant, options.seed, time.monotonic() - begun, state.counts)
        for problem in state.problems:
            traceback.print_exception(problem, file=sys.stdout)
        if state.problems:
            print(f"the store is left in {folder}")
            failed = True
        else:
            shutil.rmtree(folder)
    return int(failed)


def show(variant: str, seed: int, seconds: float, counts: Counter[str]) -> None:
    """Print what was done, in how long."""
    print(f"{variant}: seed {seed}, {seconds:.0f} s")
    for name, count in sorted(counts.items()):
        print(f"  {count:>9,}  {name}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
