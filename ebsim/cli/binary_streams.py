"""Bytes of volumes through standard input and output."""

import os
import stat
import sys
from collections.abc import Iterator
from typing import BinaryIO

import click

from ebsim.units import MIB

PIECE_SIZE = MIB
"""Bytes read or written at once: as fast as larger ones, and a signal is answered at once."""


def binary_output() -> BinaryIO:
    """Return standard output for bytes.

    Raises:
        click.UsageError: It is a terminal, which bytes would garble, or closed.
    """
    if sys.stdout is None:
        raise click.UsageError("standard output is closed.")
    if sys.stdout.isatty():
        raise click.UsageError("standard output is a terminal: send the data to a file or pipe.")
    sys.stdout.flush()
    return sys.stdout.buffer


def binary_input() -> BinaryIO:
    """Return standard input for bytes.

    Raises:
        click.UsageError: It is closed.
    """
    if sys.stdin is None:
        raise click.UsageError("standard input is closed: there is nothing to write.")
    return sys.stdin.buffer


def known_size(stream: BinaryIO) -> int | None:
    """Return how many bytes will come from a regular file or a block device; None for a pipe."""
    try:
        fd = stream.fileno()
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            return max(0, status.st_size - stream.tell())
        if stat.S_ISBLK(status.st_mode):
            position = stream.tell()
            size = os.lseek(fd, 0, os.SEEK_END)
            os.lseek(fd, position, os.SEEK_SET)
            return max(0, size - position)
    except OSError:  # no file behind it
        return None
    return None


def pieces(stream: BinaryIO) -> Iterator[bytes]:
    """Yield all that comes, in pieces; only the last may be small."""
    while piece := stream.read(PIECE_SIZE):
        yield piece
