"""`ebsim restore`."""

import click

from ebsim.cli import json_views, text_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import NamedPath, examples, shared_options


@click.command(
    "restore",
    help="""Restore a snapshot to a file or a block device, byte for byte.

    A new file appears under its name only when it is whole, is sparse, and has the exact size of
    the source. A device is opened exclusively, so that a mounted one is refused, as is one that is
    too small; what lies beyond the image's end on a larger one is left as it is.

    --in-place rolls TARGET back: it is read, and only blocks that differ are written. If that is
    interrupted, TARGET is partly rolled back; repeat the command.""",
    epilog=examples(
        "ebsim restore snap-0123456789abcdef0 restored.img",
        "ebsim restore snap-0123456789abcdef0 /dev/loop1",
        "ebsim restore snap-0123456789abcdef0 disk.img --in-place",
    ),
)
@click.argument("snapshot", metavar="SNAP")
@click.argument("target", type=NamedPath())
@click.option("--in-place", is_flag=True, help="Write only the blocks of TARGET that differ.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@shared_options
@click.pass_obj
def command(
    invocation: Invocation, *, snapshot: str, target: str, in_place: bool, force: bool
) -> None:
    """Restore and say how much was written."""
    with invocation.open_store() as store, invocation.progress() as progress:
        report = store.restore_snapshot(
            snapshot, target, in_place=in_place, force=force, progress=progress
        )
    invocation.answer(report, json_views.restoration, text_views.restoration)
