"""`ebsim volume discard`."""

import click

from ebsim.cli import volume_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import bytes_option


@click.command(
    "discard",
    help="""Discard a range of a volume: it reads as zeros, and its space is given back.

    Snapshots that hold it keep it. As with EBS, the blocks stay written: a later snapshot holds
    them, as zeros.""",
    epilog=examples("ebsim volume discard vol-0123456789abcdef0 --offset 1GiB --length 512MiB"),
)
@click.argument("volume", metavar="VOL")
@bytes_option("--offset", "Where the range begins.", required=True)
@bytes_option("--length", "How long the range is.", required=True)
@shared_options
@click.pass_obj
def command(invocation: Invocation, *, volume: str, offset: int, length: int) -> None:
    """Discard the range."""
    with invocation.open_store() as store, store.volumes.open(volume) as file:
        file.discard(offset, length)
        file.flush()
    invocation.answer(
        length,
        lambda size: volume_views.transfer_document(volume, offset, size),
        lambda size: volume_views.transfer_text("Discarded", volume, offset, size),
    )
