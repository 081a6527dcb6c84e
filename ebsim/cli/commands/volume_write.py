"""`ebsim volume write`."""

import click

from ebsim import refusals
from ebsim.cli import volume_views
from ebsim.cli.binary_streams import binary_input, known_size, pieces
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import bytes_option
from ebsim.errors import EbsimError


@click.command(
    "write",
    help="""Write standard input to a volume.

    It is durable when the command has ended. More bytes than the volume has room for are refused:
    from a file or device before anything is written, from a pipe when they come; what came before
    stays written, and the message says how much.""",
    epilog=examples(
        "ebsim volume write vol-0123456789abcdef0 < disk.img",
        "echo hello | ebsim volume write vol-0123456789abcdef0 --offset 1MiB",
    ),
)
@click.argument("volume", metavar="VOL")
@bytes_option("--offset", "Where to begin; else at 0.", default="0")
@shared_options
@click.pass_obj
def command(invocation: Invocation, *, volume: str, offset: int) -> None:
    """Copy the bytes, piece by piece, and flush."""
    from ebsim.cli.pipes import open_beside_pipe

    stream = binary_input()
    position = offset
    try:
        with (
            invocation.open_store() as store,
            open_beside_pipe(store, volume, stream, reading=True) as file,
        ):
            _ensure_room(volume, offset, offset + (known_size(stream) or 0), file.size)
            for piece in pieces(stream):
                _ensure_room(volume, position, position + len(piece), file.size)
                position += file.pwrite(piece, position)
            file.flush()
    except EbsimError as error:
        if position > offset:
            error.message += f" {_written(position - offset, offset)}"
        raise
    written = position - offset
    invocation.answer(
        written,
        lambda size: volume_views.transfer_document(volume, offset, size),
        lambda size: volume_views.transfer_text("Wrote", volume, offset, size),
    )


def _written(count: int, offset: int) -> str:
    """Return a sentence about a write that ended half-way."""
    return f"Before that, {count:,} bytes were written at offset {offset:,}, and they stay."


def _ensure_room(volume_id: str, start: int, end: int, size: int) -> None:
    if start > size or end > size:
        raise refusals.outside_volume(volume_id, start, end, size)
