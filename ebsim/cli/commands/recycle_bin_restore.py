"""`ebsim recycle-bin restore`."""

import click

from ebsim.cli import bin_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "restore",
    help="""Bring a snapshot, a volume or an image back from the Recycle Bin, as it was.

    The sharing of a snapshot is in force again. An image needs its snapshots: restore them
    first.""",
    epilog=examples(
        "ebsim recycle-bin restore snap-0123456789abcdef0",
        "ebsim recycle-bin restore ami-0123456789abcdef0",
    ),
)
@click.argument("resource", metavar="ID")
@shared_options
@click.pass_obj
def command(invocation: Invocation, resource: str) -> None:
    """Restore it and show what is back."""
    with invocation.open_store() as store:
        restored: bin_views.Restored
        if resource.startswith("ami-"):
            restored = store.recycle_bin.restore_image(resource)
        elif resource.startswith("vol-"):
            restored = store.recycle_bin.restore_volume(resource)
        else:
            restored = store.recycle_bin.restore_snapshot(resource)
    invocation.answer(restored, bin_views.restored_document, bin_views.restored_text)
