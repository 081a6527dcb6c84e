"""`ebsim volume delete`."""

import click

from ebsim.cli import volume_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "delete",
    help="""Delete a volume and its data.

    There is no undelete, except for what a rule keeps in the Recycle Bin ('recycle-bin').

    Its snapshots stay, each with its whole content. Where some of them are pending it is 'deleting'
    until they are completed.""",
    epilog=examples("ebsim volume delete vol-0123456789abcdef0"),
)
@click.argument("volume", metavar="VOL")
@shared_options
@click.pass_obj
def command(invocation: Invocation, volume: str) -> None:
    """Delete the volume."""
    with invocation.open_store() as store:
        state = store.volumes.delete(volume)
    invocation.answer(
        state,
        lambda shown: volume_views.deleted_document(volume, shown),
        lambda shown: volume_views.deleted_text(volume, shown),
    )
