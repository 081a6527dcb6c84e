"""`ebsim volume create`."""

from dataclasses import replace

import click

from ebsim.cli import volume_views
from ebsim.cli.encryption_options import encryption_options
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import volume_options
from ebsim.requests import VolumeRequest


@click.command(
    "create",
    help="""Create an empty volume, or one from a snapshot.

    A volume from a snapshot is there at once, whatever its size: a block is loaded when it is first
    needed, and all of them by 'volume initialize'. It may be larger than the snapshot; the rest
    reads as zeros. The snapshot may be deleted meanwhile.

    Sizes, IOPS and throughput have the limits that EBS has for the type. The store is made if its
    folder is missing or empty.""",
    epilog=examples(
        "ebsim volume create --size 8",
        "ebsim volume create --size 8 --encrypted --kms-key alias/disks",
        "ebsim volume create --size 100 --type gp3 --iops 6000 --throughput 500",
        "ebsim volume create --snapshot snap-0123456789abcdef0 --tag Name=copy",
    ),
)
@click.option("size_gib", "--size", type=int, metavar="GIB", help="Its size, in whole GiB.")
@click.option(
    "--snapshot", metavar="SNAP", help="Make it from this snapshot; --size may then be left out."
)
@click.option(
    "--initialization-rate",
    type=int,
    metavar="MIB",
    help="Have a background process load it, at 100 to 300 MiB a second.",
)
@encryption_options
@volume_options
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    snapshot: str | None,
    initialization_rate: int | None,
    request: VolumeRequest,
) -> None:
    """Create the volume and show it."""
    request = replace(request, snapshot_id=snapshot, initialization_rate=initialization_rate)
    if snapshot is None:
        from ebsim.core.volume_types import validate_new

        validate_new(request)  # a request that is refused makes no store
        invocation.ensure_zone(request.zone)
    with (
        invocation.open_store(create=snapshot is None) as store,
        invocation.progress() as progress,
    ):
        volume = store.volumes.create(request, progress)
    process = None
    if initialization_rate is not None:
        rate = ["--rate", str(initialization_rate)]
        process = invocation.start_in_background(["volume", "initialize", volume.volume_id, *rate])
    invocation.answer(
        volume,
        volume_views.volume_document,
        lambda record: volume_views.created_text(record, process),
    )
