"""`ebsim volume copy`."""

import click

from ebsim.cli import volume_views
from ebsim.cli.encryption_options import encryption_options
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import tag_option
from ebsim.requests import VOLUME_TYPE_DEFAULT, VolumeRequest


@click.command(
    "copy",
    help="""Copy a volume as it is now, within its Availability Zone.

    The copy is a volume of its own: its type is --type, whatever that of the volume is, it has none
    of the volume's tags, and its first snapshot is full. That of an encrypted volume is encrypted.
    Who writes to the volume meanwhile goes on, and the copy has what there was before.""",
    epilog=examples(
        "ebsim volume copy vol-0123456789abcdef0",
        "ebsim volume copy vol-0123456789abcdef0 --type gp3 --size 100 --tag Name=test",
    ),
)
@click.argument("volume", metavar="VOL")
@click.option(
    "size_gib", "--size", type=int, metavar="GIB", help="Its size; by default that of the volume."
)
@click.option(
    "volume_type",
    "--type",
    default=VOLUME_TYPE_DEFAULT,
    show_default=True,
    metavar="TYPE",
    help="gp2, gp3, io1, io2, st1, sc1 or standard.",
)
@click.option("--iops", type=int, metavar="N", help="I/O operations a second: io1, io2, gp3.")
@click.option("--throughput", type=int, metavar="MIB", help="MiB a second: gp3.")
@encryption_options
@tag_option("A tag of the copy; may be given up to 50 times.")
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    volume: str,
    size_gib: int | None,
    volume_type: str,
    iops: int | None,
    throughput: int | None,
    encrypted: bool | None,
    kms_key: str | None,
    tags: dict[str, str],
) -> None:
    """Copy the volume and show the copy."""
    request = VolumeRequest(
        size_gib=size_gib,
        volume_type=volume_type,
        iops=iops,
        throughput=throughput,
        tags=tags,
        encrypted=encrypted,
        kms_key_id=kms_key,
    )
    with invocation.open_store() as store, invocation.progress() as progress:
        made = store.volumes.copy(volume, request, progress)
    invocation.answer(made, volume_views.volume_document, volume_views.created_text)
