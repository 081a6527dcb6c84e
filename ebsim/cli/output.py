"""Writing to standard output and standard error.

With `--json` standard output carries exactly one JSON document and nothing else, so everything
that is not the answer (errors of a text run, notes, progress) goes to standard error.
"""

import errno
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO, TypeAlias

JsonValue: TypeAlias = "str | int | float | bool | Sequence[JsonValue] | Json | None"
Json: TypeAlias = Mapping[str, JsonValue]


def prepare_streams() -> None:
    """Make sure that no name or description can break the output.

    A file name may hold bytes that the terminal's encoding has no characters for; they are shown
    as escapes instead of ending the command.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # None under a test's capture
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def print_document(document: Json) -> None:
    """Print one JSON document on standard output: indented on a terminal, else on one line.

    Pure ASCII, so that any file name passes through whatever the encoding is.
    """
    indent = 2 if sys.stdout is not None and sys.stdout.isatty() else None
    _answer(json.dumps(document, indent=indent, ensure_ascii=True, allow_nan=False))


def print_text(text: str) -> None:
    """Print text for people on standard output."""
    _answer(text)


def print_note(text: str) -> None:
    """Print one line that starts with the program's name on standard error."""
    _write(sys.stderr, f"ebsim: {text}")


def printable(text: str) -> str:
    """Return text with control characters escaped: it can break no line and no terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def flush_or_discard() -> None:
    """Flush both streams; what cannot be written is thrown away, and Python must not try again.

    Without this the interpreter would complain at its exit, and change the exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _answer(text: str) -> None:
    """Write to standard output, which must be there: nobody is to take silence for success."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "stdout")
    _write(sys.stdout, text)


def _write(stream: TextIO | None, text: str) -> None:
    """Write and flush, so that a full disk or a closed pipe is noticed while it can be told.

    Raises:
        OSError: It cannot be written; BrokenPipeError where the reader went away.
    """
    if stream is None:  # the caller closed it
        return
    try:
        stream.write(text + "\n")
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, stream.name.strip("<>")) from error
