"""Every session in the documents is run, and shows what the document shows.

A fenced block of kind `console` is a session: a line that begins with `$ ` is typed at a shell, one
that begins with `> ` continues it, and the lines below are what appears on the terminal. All
sessions of one document are typed into one shell, which begins in an empty home folder. A command
that ends with another exit code than 0 must be followed by `echo $?`.

What differs from run to run is written in the documents as it was in some run, and compared so:

- ids of snapshots, volumes, images and policies: the same id stands for the same thing throughout a
  document;
- times, and the ids of a store, of keys and grants, of events and of retention rules: any;
- the home folder is `/home/you`;
- stored sizes, which depend on the compressor and the file system: any. They are those that stand
  beside the word `stored`, `Stored`, `Catalog` or `proved`, and the members of JSON documents named
  in `STORED_MEMBERS`. Charged sizes must be right to the byte;
- what a file system needs for itself: the line about stored bytes that belong to nothing is not
  compared at all.

A fenced block of kind `python` is run as it is; all blocks of one document make one program.

`ebsim` in a session is run in a process of its own, from its first line to its last, but one that
is forked from an interpreter that has imported it (`ebsim.testing.forked_programs`): new ones would
take most of the time.

To write what commands really print into the documents, run this file as a program. Read the
difference before you keep it.
"""

import os
import pty
import re
import shutil
import subprocess
import sys
import tty
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ebsim.testing.forked_programs import ProgramServer
from ebsim.testing.seams import fast_folder

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]

HOME = "/home/you"
COLUMNS = 100
PATIENCE_S = 270

IMPORTED = tuple(f"ebsim.{name}" for name in ("cli", "core", "demo", "keys", "storage", "volumes"))
"""What commands import."""

STORED_MEMBERS = (
    "StoredSizeInBytes",
    "LiveSizeInBytes",
    "CatalogSizeInBytes",
    "ReadSizeInBytes",
    "ProvedBeforeSizeInBytes",
    "OrphanSizeInBytes",
    "ReclaimedBytes",
    "CopiedSizeInBytes",
    "ReclaimedSizeInBytes",
)

_SIZE = r"\d+(?:\.\d)? [KMGT]?i?B\b"
_ANY = [
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:(?:\.\d{3})?Z)?"), "TIME"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "GRANT"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "STORE"),
    (re.compile(r"\b[a-z]\d[0-9a-z]{9}\b"), "RULE"),
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "EVENT"),
    (re.compile(rf"(?<=stored ){_SIZE}|{_SIZE}(?= stored)"), "SIZE"),
    (re.compile(rf"(?m)^(Stored  +){_SIZE} on disk, {_SIZE} of it live"), r"\1SIZE"),
    (re.compile(rf"(?m)^(Catalog  +){_SIZE}"), r"\1SIZE"),
    (re.compile(rf"(proved \(){_SIZE}(?: of SIZE stored)?"), r"\1SIZE"),
    (re.compile(r"(?m)^SIZE stored belong to nothing, which is harmless\.\n"), ""),
    (re.compile(rf'("(?:{"|".join(STORED_MEMBERS)})": )\d+'), r"\1SIZE"),
]
_ID = re.compile(r"\b(snap|vol|ami|policy)-[0-9a-f]{17}\b")
_EXAMPLES = ("0123456789abcdef0", "0fedcba9876543210")
_MARK = "\x1e"


@dataclass(frozen=True)
class Exchange:
    """A command and what appears after it.

    Attributes:
        command: As typed, without prompts.
        output: The lines that the document shows, each with its newline.
        start: Where the output begins in the document, as an index of lines.
        end: Where it ends.
    """

    command: str
    output: str
    start: int
    end: int


def fenced(text: str, kind: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each fenced block of a kind: the index of its first line, and its lines."""
    lines = text.split("\n")
    start: int | None = None
    for number, line in enumerate(lines):
        if start is None and line == f"```{kind}":
            start = number + 1
        elif start is not None and line == "```":
            yield start, lines[start:number]
            start = None


def exchanges(text: str) -> list[Exchange]:
    """Return all that is typed in a document, and what it shows."""
    found: list[Exchange] = []
    for start, lines in fenced(text, "console"):
        position = 0
        while position < len(lines):
            assert lines[position].startswith("$ "), f"no command: {lines[position]}"
            command = [lines[position][2:]]
            position += 1
            while position < len(lines) and lines[position].startswith("> "):
                command.append(lines[position][2:])
                position += 1
            first = position
            while position < len(lines) and not lines[position].startswith("$ "):
                position += 1
            output = "".join(f"{line}\n" for line in lines[first:position])
            found.append(Exchange("\n".join(command), output, start + first, start + position))
    return found


def run_shell(commands: list[str], folder: Path) -> list[tuple[str, int]]:
    """Type commands into a shell on a terminal; return what each showed, and its exit code."""
    tools, home = folder / "tools", folder / "home"
    tools.mkdir()
    home.mkdir()
    (tools / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tools / "python3").chmod(0o755)
    script = "".join(
        f'{command}\n_code=$?; printf "\\036%d\\036" "$_code"; (exit "$_code")\n'
        for command in commands
    )
    variables = {
        "HOME": str(home),
        "PATH": f"{tools}:{os.environ['PATH']}:/usr/sbin:/sbin",
        "PYTHONPATH": str(REPOSITORY),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        "COLUMNS": str(COLUMNS),
    }
    with ProgramServer(folder / "server", IMPORTED) as server:
        server.write_command("ebsim", tools / "ebsim")
        shown = _on_a_terminal(["bash", "--norc", "--noprofile", "-c", script], home, variables)
    parts = shown.replace(str(home), HOME).split(_MARK)
    assert len(parts) == 2 * len(commands) + 1, shown
    return [(parts[2 * at], int(parts[2 * at + 1])) for at in range(len(commands))]


def _on_a_terminal(arguments: list[str], folder: Path, variables: dict[str, str]) -> str:
    """Run a program on a pseudo-terminal and return all it shows."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)  # no carriage returns
    with subprocess.Popen(
        ["timeout", str(PATIENCE_S), *arguments],
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = bytearray()
        while part := _read(ours):
            shown += part
        os.close(ours)
        assert process.wait() != 124, f"more than {PATIENCE_S} s: {shown.decode()}"
    return shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the last writer is gone
        return b""


def compared(outputs: list[str]) -> list[str]:
    """Return outputs of one document in the form in which they are compared."""
    names: dict[str, str] = {}

    def name(match: re.Match[str]) -> str:
        return names.setdefault(match[0], f"{match[1].upper()}-{len(names) + 1}")

    result = []
    for output in outputs:
        text = _ID.sub(name, output)
        for pattern, placeholder in _ANY:
            text = pattern.sub(placeholder, text)
        result.append(text)
    return result


def refreshed(text: str, folder: Path) -> str:
    """Return a document with what its commands really show, where that differs."""
    typed = exchanges(text)
    shown = [output for output, _ in run_shell([each.command for each in typed], folder)]
    written = [each.output for each in typed]
    known = _renamed(_ids(shown), _ids(written))
    lines = text.split("\n")
    pairs = zip(typed, shown, compared(written), compared(shown), strict=True)
    for each, output, expected, found in reversed(list(pairs)):
        if expected != found:
            new = _ID.sub(lambda match: known.get(match[0], match[0]), output)
            lines[each.start : each.end] = new.removesuffix("\n").split("\n") if new else []
    return "\n".join(lines)


def _renamed(new: list[str], old: list[str]) -> dict[str, str]:
    """Return for each new id the one that the document had in its place, as far as it had one.

    Ids of examples in help texts stay as they are.
    """
    known: dict[str, str] = {}
    for kind in ("snap-", "vol-", "ami-", "policy-"):
        came = [each for each in new if each.startswith(kind) and not each.endswith(_EXAMPLES)]
        went = [each for each in old if each.startswith(kind) and not each.endswith(_EXAMPLES)]
        known.update(zip(came, went, strict=False))
    return known


def _ids(outputs: list[str]) -> list[str]:
    """Return the ids in the order in which they first appear."""
    return list(dict.fromkeys(match[0] for output in outputs for match in _ID.finditer(output)))


def with_blocks(kind: str) -> list[Path]:
    """Return the documents that have such blocks."""
    return [path for path in DOCUMENTS if list(fenced(path.read_text(encoding="utf-8"), kind))]


def name_of(path: Path) -> str:
    """Return a document's name for a test's id."""
    return str(path.relative_to(REPOSITORY))


@pytest.mark.slow
@pytest.mark.parametrize("document", with_blocks("console"), ids=name_of)
def test_session_shows_what_the_document_shows(document: Path, fast_path: Path) -> None:
    typed = exchanges(document.read_text(encoding="utf-8"))

    results = run_shell([each.command for each in typed], fast_path)

    expected = compared([each.output for each in typed])
    found = compared([output for output, _ in results])
    for each, should, does in zip(typed, expected, found, strict=True):
        assert does == should, f"after: {each.command}"
    for position, (each, (_, code)) in enumerate(zip(typed, results, strict=True)):
        told = position + 1 < len(typed) and typed[position + 1].command == "echo $?"
        assert code == 0 or told, f"exit code {code} is not shown: {each.command}"


@pytest.mark.slow
@pytest.mark.parametrize("document", with_blocks("python"), ids=name_of)
def test_python_of_the_document_runs(document: Path, fast_path: Path) -> None:
    blocks = fenced(document.read_text(encoding="utf-8"), "python")
    program = "\n".join(line for _, lines in blocks for line in lines)

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=fast_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_ids_are_compared_by_where_they_appear() -> None:
    one, two, three = (f"snap-0{digit * 16}" for digit in "abc")

    assert compared([f"{one} {two} {one}"]) == compared([f"{two} {three} {two}"])
    assert compared([f"{one} {two} {one}"]) != compared([f"{one} {two} {two}"])


def test_stored_sizes_are_not_compared_and_charged_ones_are() -> None:
    line = "The store: 2 snapshots, charged {}, stored {}."

    assert compared([line.format("5 MiB", "1 KiB")]) == compared([line.format("5 MiB", "9.5 MiB")])
    assert compared([line.format("5 MiB", "1 KiB")]) != compared([line.format("6 MiB", "1 KiB")])


def main() -> None:
    """Refresh the documents named as arguments, or all."""
    for document in [Path(name) for name in sys.argv[1:]] or with_blocks("console"):
        folder = fast_folder()
        try:
            text = document.read_text(encoding="utf-8")
            document.write_text(refreshed(text, folder), encoding="utf-8")
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
