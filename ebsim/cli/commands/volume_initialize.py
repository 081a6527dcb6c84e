"""`ebsim volume initialize`."""

import click

from ebsim.cli import volume_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "initialize",
    help="""Load all of a volume that was made from a snapshot, now.

    A volume can be used without: what is needed is loaded when it is needed. Afterwards no read is
    slower than the disk, and the volume needs nothing of its snapshot any more. If it is
    interrupted, repeat it; what is loaded stays.""",
    epilog=examples(
        "ebsim volume initialize vol-0123456789abcdef0",
        "ebsim volume initialize vol-0123456789abcdef0 --rate 100",
    ),
)
@click.argument("volume", metavar="VOL")
@click.option("--rate", type=int, metavar="MIB", help="At most so many MiB a second.")
@shared_options
@click.pass_obj
def command(invocation: Invocation, volume: str, rate: int | None) -> None:
    """Load the volume and show it."""
    with invocation.open_store() as store:
        with invocation.progress() as progress:
            store.volumes.initialize(volume, rate=rate, progress=progress)
        shown = store.volumes.get(volume)
    invocation.answer(
        shown,
        volume_views.volume_document,
        lambda record: f"Volume {record.volume_id} is loaded: {record.initialization_percent}%.",
    )
