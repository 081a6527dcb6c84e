"""`ebsim demo`."""

from pathlib import Path

import click

from ebsim.cli.invocation import Invocation
from ebsim.cli.options import NamedPath, examples, shared_options
from ebsim.cli.output import print_document, print_text


@click.command(
    "demo",
    help="""Show the main job on real input, and the example of the EBS documentation.

    An ext4 image is built from files of this machine and snapshotted; files in it change; it is
    snapshotted again; the first snapshot is deleted and the second restored, and every byte is
    compared. Then the documented example is replayed with its 20,480, 8,192 and 4,096 blocks of 512
    KiB, and drawn. Any figure that is not the documented one is an error.

    It takes up to a minute and 2 GiB in a temporary folder ($TMPDIR), which is removed afterwards.
    It needs e2fsprogs but not root, and does not touch your store.""",
    epilog=examples("ebsim demo", "ebsim demo --keep /var/tmp/ebsim-demo"),
)
@click.option(
    "--keep",
    type=NamedPath(path_type=Path),
    metavar="DIR",
    help="Work in this new or empty folder, and leave images and stores there.",
)
@shared_options
@click.pass_obj
def command(invocation: Invocation, keep: Path | None) -> None:
    """Run the demo, telling each step as it is done."""
    from ebsim.cli import demo_views
    from ebsim.demo.run import run_demo
    from ebsim.demo.workspace import workspace

    with workspace(keep) as folder, invocation.progress() as progress:
        report = run_demo(folder, _ignore if invocation.json else print_text, progress)
    if invocation.json:
        print_document(demo_views.demo(report))
    elif keep is not None:
        print_text(f"Left in {keep}: image/disk.img, image/restored.img and two stores.")


def _ignore(_text: str) -> None:
    """Tell nothing: with --json the one document tells it all."""
