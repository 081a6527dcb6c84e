"""Where a benchmark works: an own folder, in memory if there is room, removed at the end."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ebsim
from benchmarks.measuring import BenchmarkError, Shell
from ebsim.units import format_size

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of an own name is made in it


@contextmanager
def work_folder(given: Path | None, need_bytes: int) -> Iterator[Path]:
    """Yield a new folder, below `given` or else where there is room, memory first.

    Raises:
        BenchmarkError: There is no room.
    """
    places = [given] if given else [_MEMORY, Path(tempfile.gettempdir())]
    for place in places:
        if place.is_dir() and _room(place) >= need_bytes:
            with tempfile.TemporaryDirectory(prefix="ebsim-bench-", dir=place) as folder:
                yield Path(folder)
            return
    names = " and ".join(str(place) for place in places)
    raise BenchmarkError(
        f"{format_size(need_bytes)} are needed, and {names} have less: name a folder with --work,"
        " or a smaller image with --size-gib"
    )


def make_shell(folder: Path) -> Shell:
    """Return a shell with an environment of its own, so that no setting of the user matters."""
    home = folder / "home"
    home.mkdir()
    variables = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(Path(ebsim.__file__).parents[1]),
    }
    return Shell(folder, variables)


def _room(place: Path) -> int:
    """Return how many bytes fit: in memory, no more than is free there."""
    free = shutil.disk_usage(place).free
    if place != _MEMORY:
        return free
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(free, available)
