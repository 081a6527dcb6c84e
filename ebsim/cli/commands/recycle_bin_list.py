"""`ebsim recycle-bin list`."""

import click

from ebsim.cli import bin_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.recycle_bin import BinnedImage, BinnedSnapshot, BinnedVolume, BinQuery

KINDS = ("snap", "vol", "ami")
"""What the ids of snapshots, volumes and images begin with, before the hyphen."""


@click.command(
    "list",
    help="""List what is in the Recycle Bin, and when it goes for good: all, or what is named.""",
    epilog=examples(
        "ebsim recycle-bin list",
        "ebsim recycle-bin list --json | jq -r '.Snapshots[].SnapshotId'",
    ),
)
@click.argument("resources", metavar="[ID...]", nargs=-1)
@shared_options
@click.pass_obj
def command(invocation: Invocation, resources: tuple[str, ...]) -> None:
    """Print what is in the bin."""
    by_kind = {
        kind: [each for each in resources if each.partition("-")[0] == kind] for kind in KINDS
    }
    unknown = set(resources).difference(*by_kind.values())
    if unknown:
        raise click.UsageError(
            f"'{min(unknown)}' is no id: it begins with snap-, vol- or ami-.",
            click.get_current_context(),
        )
    wanted = {kind: BinQuery(resource_ids=names) for kind, names in by_kind.items()}
    asked = [kind for kind in KINDS if by_kind[kind] or not resources]
    with invocation.open_store() as store:
        bin_ = store.recycle_bin
        found: list[BinnedSnapshot | BinnedVolume | BinnedImage] = []
        if "snap" in asked:
            found += bin_.snapshots(wanted["snap"]).snapshots
        if "vol" in asked:
            found += bin_.volumes(wanted["vol"]).volumes
        if "ami" in asked:
            found += bin_.images(wanted["ami"]).images
    invocation.answer(found, bin_views.bin_document, bin_views.bin_text)
