"""Run the benchmarks: `python -m benchmarks NAME...`, or all; the names are below."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.measuring import BenchmarkError
from benchmarks.tables import replace_section
from ebsim.units import GIB, MIB

SPACE_FACTOR = 2.0
SPACE_FACTOR_STORE = 0.36
"""Bytes needed for a byte of image: for it and a restored copy; and for the store of each tool."""

COPIES_SPACE_FACTOR = 5.0
"""Bytes needed for a byte of image: for it, while it is made, and for five stores that grow."""

ENCRYPTION_SPACE_FACTOR = 3.0
"""Bytes needed for a byte of image: for it, a restored copy, and two stores."""

GROWTH_SPACE = GIB // 2
VOLUMES_SPACE = 3 * GIB
ENDPOINT_SPACE = 4 * GIB
LOAD_MAX = 0.5


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for and return the exit code."""
    options = _parse(arguments)
    load = os.getloadavg()[0]
    if load > LOAD_MAX:
        print(f"The load is {load:.1f}: other work will disturb the timings.", file=sys.stderr)
    benchmarks: Mapping[str, Callable[[argparse.Namespace], tuple[str, object]]] = {
        "compare": _compare,
        "growth": _growth,
        "volumes": _volumes,
        "copies": _copies,
        "encryption": _encryption,
        "encrypted-volumes": _encrypted_volumes,
        "endpoint": _endpoint,
    }
    try:
        for name, benchmark in benchmarks.items():
            if name in (options.names or benchmarks):
                _keep(options, name, *benchmark(options))
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="which; all by default")
    add("--work", type=Path, help="where to work; in memory by default, if there is room")
    add("--size-gib", type=float, default=4.0, help="size of the image (default: 4)")
    add("--image", type=Path, help="use a copy of this image instead of making one")
    add("--runs", type=int, default=3, help="runs of each step (default: 3)")
    add(
        "--only",
        default="",
        help="peers to compare with: restic,borg,borg-fixed,borg-fixed-zstd,qemu-img",
    )
    add("--chain", type=int, default=10_000, help="snapshots of the longest chain")
    add("--output", type=Path, default=Path("build/benchmarks"), help="folder for the results")
    add("--document", type=Path, help="a Markdown file to put the tables into")
    options = parser.parse_args(arguments)
    known = {"compare", "growth", "volumes", "copies", "encryption"}
    known |= {"encrypted-volumes", "endpoint"}
    unknown = set(options.names) - known
    if unknown or options.size_gib * GIB < 64 * MIB or options.runs < 1 or options.chain < 10:
        parser.error("a name or number is out of range")
    return options


def _compare(options: argparse.Namespace) -> tuple[str, object]:
    from benchmarks.compare import PEERS, Comparison
    from benchmarks.compare_report import compare_json, compare_markdown
    from benchmarks.image import build_image, copy_image
    from benchmarks.machine import look_at_machine
    from benchmarks.work_folder import make_shell, work_folder

    given: Path | None = options.image
    size = given.stat().st_size if given else int(options.size_gib * GIB) // MIB * MIB
    only = [name for name in options.only.split(",") if name] or list(PEERS)
    if unknown := set(only) - set(PEERS):
        raise BenchmarkError(f"there is no peer named {min(unknown)}")
    need = size * (SPACE_FACTOR + SPACE_FACTOR_STORE * (1 + len(only)))
    with work_folder(options.work, int(need)) as work:
        machine = look_at_machine(work)
        image = work / "image.raw"
        print("making the image", file=sys.stderr)
        facts = copy_image(image, given) if given else build_image(image, size, work / "tree")
        results = Comparison(make_shell(work), image, options.runs, only).run()
    return compare_markdown(results, facts, machine), compare_json(results, facts, machine)


def _growth(options: argparse.Namespace) -> tuple[str, object]:
    from benchmarks.growth import measure_growth
    from benchmarks.growth_report import growth_json, growth_markdown
    from benchmarks.machine import look_at_machine
    from benchmarks.work_folder import work_folder

    with work_folder(options.work, GROWTH_SPACE) as work:
        machine = look_at_machine(work)
        growth = measure_growth(work, options.chain)
    return growth_markdown(growth, machine), growth_json(growth, machine)


def _volumes(options: argparse.Namespace) -> tuple[str, object]:
    from benchmarks.machine import look_at_machine
    from benchmarks.volumes import measure_volumes
    from benchmarks.volumes_report import volumes_json, volumes_markdown
    from benchmarks.work_folder import work_folder

    with work_folder(options.work, VOLUMES_SPACE) as work:
        machine = look_at_machine(work)
        results = measure_volumes(work)
    return volumes_markdown(results, machine), volumes_json(results, machine)


def _copies(options: argparse.Namespace) -> tuple[str, object]:
    from benchmarks.copies import CopyComparison
    from benchmarks.copies_report import copies_json, copies_markdown
    from benchmarks.image import build_image, copy_image
    from benchmarks.machine import look_at_machine
    from benchmarks.work_folder import make_shell, work_folder

    given: Path | None = options.image
    size = given.stat().st_size if given else int(options.size_gib * GIB) // MIB * MIB
    with work_folder(options.work, int(size * COPIES_SPACE_FACTOR)) as work:
        machine = look_at_machine(work)
        image = work / "image.raw"
        print("making the image", file=sys.stderr)
        facts = copy_image(image, given) if given else build_image(image, size, work / "tree")
        results = CopyComparison(make_shell(work), image, options.runs).run()
    return copies_markdown(results, facts, machine), copies_json(results, facts, machine)


def _encryption(options: argparse.Namespace) -> tuple[str, object]:
    from benchmarks.encryption import EncryptionComparison
    from benchmarks.encryption_report import encryption_json, encryption_markdown
    from benchmarks.image import build_image, copy_image
    from benchmarks.machine import look_at_machine
    from benchmarks.work_folder import make_shell, work_folder

    given: Path | None = options.image
    size = given.stat().st_size if given else int(options.size_gib * GIB) // MIB * MIB
    with work_folder(options.work, int(size * ENCRYPTION_SPACE_FACTOR)) as work:
        machine = look_at_machine(work)
        image = work / "image.raw"
        print("making the image", file=sys.stderr)
        facts = copy_image(image, given) if given else build_image(image, size, work / "tree")
        results = EncryptionComparison(make_shell(work), image, options.runs).run()
    return encryption_markdown(results, facts, machine), encryption_json(results, facts, machine)


def _encrypted_volumes(options: argparse.Namespace) -> tuple[str, object]:
    from benchmarks.encrypted_volumes import (
        encrypted_volumes_json,
        encrypted_volumes_markdown,
        measure_encrypted_volumes,
    )
    from benchmarks.machine import look_at_machine
    from benchmarks.work_folder import work_folder

    with work_folder(options.work, VOLUMES_SPACE) as work:
        machine = look_at_machine(work)
        results = measure_encrypted_volumes(work / "store")
    return encrypted_volumes_markdown(results, machine), encrypted_volumes_json(results, machine)


def _endpoint(options: argparse.Namespace) -> tuple[str, object]:
    from benchmarks.endpoint import measure_endpoint
    from benchmarks.endpoint_report import endpoint_json, endpoint_markdown
    from benchmarks.machine import look_at_machine
    from benchmarks.work_folder import work_folder

    with work_folder(options.work, ENDPOINT_SPACE) as work:
        machine = look_at_machine(work)
        results = measure_endpoint(work, options.output.absolute() / "moto")
    return endpoint_markdown(results, machine), endpoint_json(results, machine)


def _keep(options: argparse.Namespace, name: str, text: str, data: object) -> None:
    """Print the table, and put it where it was asked for."""
    print(text, end="\n\n", flush=True)
    folder: Path = options.output
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(f"{text}\n", encoding="utf-8")
    (folder / f"{name}.json").write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    if options.document is not None:
        replace_section(options.document, name, text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
