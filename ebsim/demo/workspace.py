"""Where the demo works: a temporary folder, or one that the user wants to keep."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebsim.errors import ErrorCode, InvalidInputError, LimitExceededError
from ebsim.units import GIB, format_size

SPACE_NEEDED = 2 * GIB
"""An image, its store, its restored copy and the files it was built from: about 1.3 GiB."""


@contextmanager
def workspace(keep: Path | None) -> Iterator[Path]:
    """Yield an empty folder: a temporary one that is removed afterwards, or `keep`, which stays.

    Raises:
        InvalidInputError: `keep` is there and not an empty folder.
        LimitExceededError: There is too little space.
    """
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="ebsim-demo-") as folder:
            _require_space(Path(folder), "set TMPDIR to a folder with more")
            yield Path(folder)
        return
    if keep.exists() and not (keep.is_dir() and not any(keep.iterdir())):
        raise InvalidInputError(f"{keep} is not an empty folder; name one that is new or empty.")
    keep.mkdir(parents=True, exist_ok=True)
    _require_space(keep, "choose another folder")
    yield keep


def _require_space(folder: Path, advice: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < SPACE_NEEDED:
        raise LimitExceededError(
            f"The demo needs {format_size(SPACE_NEEDED)} of disk, and {folder} has"
            f" {format_size(free)} free: {advice}.",
            ErrorCode.NO_SPACE,
        )
