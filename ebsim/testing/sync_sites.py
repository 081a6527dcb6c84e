"""Where ebsim makes something durable: each call found in the source, and switched off one by one.

A site is a call, in the product, of something that syncs; and each of the two options with which
LMDB syncs. What is off is told by the stack of whoever asks, so that the product runs as it is.
"""

import ast
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import lmdb

import ebsim
from ebsim.storage import files

PRODUCT = Path(ebsim.__file__).parent

_SYNCING = frozenset(
    {"sync", "_sync", "fsync", "fdatasync", "sync_fd", "sync_directory", "syncfs", "msync"}
    | {"sync_file_range"}
)
MARK = b"@@"
"""What a process writes to its standard output, to be seen in a trace, begins like this."""

LEFT_OUT = b'{"left out": true}\n'
"""What it writes when it leaves a sync out."""

_LMDB_OPTIONS = ("sync", "metasync")


@dataclass(frozen=True, slots=True)
class SyncSite:
    """One call that makes something durable.

    Attributes:
        name: Module, function, what is called, and which one of several: for people and tests.
        path: The source file.
        first: Its first line.
        last: Its last line.
        option: The option of `lmdb.open` that it is; empty for a call.
    """

    name: str
    path: str
    first: int
    last: int
    option: str = ""

    def is_asking(self, frame: FrameType | None) -> bool:
        """Return whether a stack goes through this call."""
        while frame is not None:
            if frame.f_code.co_filename == self.path and self.first <= frame.f_lineno <= self.last:
                return True
            frame = frame.f_back
        return False

    def is_calling(self) -> bool:
        """Return whether the caller's stack goes through this call."""
        return self.is_asking(sys._getframe(1))


def find_sites() -> list[SyncSite]:
    """Return all sites, in the order of their files and lines."""
    found: list[SyncSite] = []
    for path in sorted(PRODUCT.rglob("*.py")):
        if not path.is_relative_to(PRODUCT / "testing"):
            found += _sites_of(path)
    return found


def _sites_of(path: Path) -> Iterator[SyncSite]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    module = ".".join(path.relative_to(PRODUCT).with_suffix("").parts)
    counts: Counter[str] = Counter()
    for scope, call in _calls(tree, ()):
        function = call.func
        called = function.attr if isinstance(function, ast.Attribute) else ""
        called = function.id if isinstance(function, ast.Name) else called
        if called in _SYNCING:
            name = f"{module}:{'.'.join(scope)}:{called}"
            counts[name] += 1
            number = f"#{counts[name]}" if counts[name] > 1 else ""
            yield SyncSite(name + number, str(path), call.lineno, call.end_lineno or call.lineno)
        for keyword in call.keywords:
            if ast.unparse(function) == "lmdb.open" and keyword.arg in _LMDB_OPTIONS:
                line = keyword.value.lineno
                yield SyncSite(f"{module}:{keyword.arg}", str(path), line, line, keyword.arg)


def _calls(node: ast.AST, scope: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], ast.Call]]:
    """Yield every call with the names of the classes and functions around it."""
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, (ast.ClassDef, ast.FunctionDef))
        inner = (
            (*scope, child.name) if isinstance(child, (ast.ClassDef, ast.FunctionDef)) else scope
        )
        if isinstance(child, ast.Call):
            yield scope, child
        yield from _calls(child, inner if named else scope)


@contextmanager
def switched_off(site: SyncSite | None) -> Iterator[None]:
    """Have a site do nothing, on real files, in this process."""
    if site is None:
        yield
    elif site.option:
        real = lmdb.open

        def unsynced(*args: Any, **options: Any) -> lmdb.Environment:  # noqa: ANN401 - lmdb.open's
            return real(*args, **(options | {site.option: False}))

        with mock.patch.object(lmdb, "open", unsynced):
            yield
    else:
        with mock.patch.object(files, "os", _System(site.is_asking)):
            yield


class _System:
    """The module `os`, whose syncs do nothing when they are asked for through a site."""

    def __init__(self, is_off: Callable[[FrameType | None], bool]) -> None:
        self._is_off = is_off

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever `os` has
        return getattr(os, name)

    def fsync(self, fd: int) -> None:
        """Sync, or not."""
        if self._is_off(sys._getframe(1)):
            _say_so()
        else:
            os.fsync(fd)  # noqa: TID251 - it stands for the module

    def fdatasync(self, fd: int) -> None:
        """Sync, or not."""
        if self._is_off(sys._getframe(1)):
            _say_so()
        else:
            os.fdatasync(fd)  # noqa: TID251 - it stands for the module


def _say_so() -> None:
    os.write(1, MARK + LEFT_OUT)  # for who reads the trace
