"""`ebsim volume modify`."""

import click

from ebsim.cli import volume_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.requests import VolumeModificationRequest


@click.command(
    "modify",
    help="""Change the size, type, IOPS or throughput of a volume.

    A volume can only grow; what is added reads as zeros, and the file system in it must be grown
    with its own tool. Its snapshots stay as they are. What is not named stays too, unless the type
    changes: then it becomes what the new type has. EBS allows four changes in 24 hours.""",
    epilog=examples(
        "ebsim volume modify vol-0123456789abcdef0 --size 20",
        "ebsim volume modify vol-0123456789abcdef0 --type gp3 --iops 4000",
    ),
)
@click.argument("volume", metavar="VOL")
@click.option("size_gib", "--size", type=int, metavar="GIB", help="The new size, in whole GiB.")
@click.option("volume_type", "--type", metavar="TYPE", help="Another type, such as gp3.")
@click.option("--iops", type=int, metavar="N", help="I/O operations a second: io1, io2, gp3.")
@click.option("--throughput", type=int, metavar="MIB", help="MiB a second: gp3.")
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    volume: str,
    size_gib: int | None,
    volume_type: str | None,
    iops: int | None,
    throughput: int | None,
) -> None:
    """Modify the volume and show the modification."""
    request = VolumeModificationRequest(
        size_gib=size_gib, volume_type=volume_type, iops=iops, throughput=throughput
    )
    with invocation.open_store() as store:
        modification = store.volumes.modify(volume, request)
    invocation.answer(modification, volume_views.modified_document, volume_views.modified_text)
