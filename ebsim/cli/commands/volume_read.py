"""`ebsim volume read`."""

from typing import BinaryIO

import click

from ebsim import refusals
from ebsim.cli.binary_streams import PIECE_SIZE, binary_output
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import bytes_option


@click.command(
    "read",
    help="""Write bytes of a volume to standard output.

    What was never written reads as zeros; what is not loaded yet is loaded. Standard output must be
    a file or a pipe, and carries the bytes alone, so --json has no place here.""",
    epilog=examples(
        "ebsim volume read vol-0123456789abcdef0 > disk.img",
        "ebsim volume read vol-0123456789abcdef0 --offset 1MiB --length 4096 | xxd",
    ),
)
@click.argument("volume", metavar="VOL")
@bytes_option("--offset", "Where to begin; else at 0.", default="0")
@bytes_option("--length", "How many; else all that follow.")
@shared_options
@click.pass_obj
def command(invocation: Invocation, *, volume: str, offset: int, length: int | None) -> None:
    """Copy the bytes, piece by piece."""
    if invocation.json:
        raise click.UsageError("standard output carries the volume's bytes: leave out --json.")
    output = binary_output()
    from ebsim.cli.pipes import open_beside_pipe

    with (
        invocation.open_store() as store,
        open_beside_pipe(store, volume, output, reading=False) as file,
    ):
        end = file.size if length is None else offset + length
        if offset > file.size or end > file.size:
            raise refusals.outside_volume(volume, offset, end, file.size)
        while offset < end:
            piece = file.pread(min(PIECE_SIZE, end - offset), offset)
            _write(output, piece)
            offset += len(piece)
        _write(output, b"")


def _write(output: BinaryIO, piece: bytes) -> None:
    """Write a piece and flush it, so that what is wrong is told with the output's name."""
    try:
        output.write(piece)
        output.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, "stdout") from error
