"""`ebsim restore`."""

import click

from ebsim.cli import json_views, text_views
from ebsim.cli.failures import EXIT_FAILED
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import NamedPath, examples, shared_options


@click.command(
    "restore",
    help="""Restore a snapshot to a file or a block device, byte for byte.

    A new file appears under its name only when it is whole, is sparse, and has the exact size of
    the source. A device is opened exclusively, so that a mounted one is refused, as is one that is
    too small; what lies beyond the image's end on a larger one is left as it is.

    --in-place rolls TARGET back: it is read, and only blocks that differ are written. If that is
    interrupted, TARGET is partly rolled back; repeat the command.

    If stored bytes are damaged, the restore fails and a new file is not made. With --damaged zero
    such blocks are written as zeros, each range of bytes that is lost is listed, and the exit code
    is 1.""",
    epilog=examples(
        "ebsim restore snap-0123456789abcdef0 restored.img",
        "ebsim restore snap-0123456789abcdef0 /dev/loop1",
        "ebsim restore snap-0123456789abcdef0 disk.img --in-place",
        "ebsim restore snap-0123456789abcdef0 rescued.img --damaged zero",
    ),
)
@click.argument("snapshot", metavar="SNAP")
@click.argument("target", type=NamedPath())
@click.option("--in-place", is_flag=True, help="Write only the blocks of TARGET that differ.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option(
    "--damaged",
    type=click.Choice(["fail", "zero"]),
    default="fail",
    show_default=True,
    help="What to do about blocks whose stored bytes are damaged.",
)
@shared_options
@click.pass_context
def command(
    context: click.Context,
    *,
    snapshot: str,
    target: str,
    in_place: bool,
    force: bool,
    damaged: str,
) -> None:
    """Restore, say how much was written, and exit with 1 if bytes were lost."""
    invocation = context.ensure_object(Invocation)
    with invocation.open_store() as store, invocation.progress() as progress:
        report = store.restore_snapshot(
            snapshot,
            target,
            in_place=in_place,
            force=force,
            zero_damaged=damaged == "zero",
            progress=progress,
        )
    invocation.answer(report, json_views.restoration, text_views.restoration)
    if not report.whole:
        context.exit(EXIT_FAILED)
