"""`ebsim volume import`."""

from pathlib import Path

import click

from ebsim.cli import volume_views
from ebsim.cli.encryption_options import encryption_options
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import NamedPath, examples, shared_options
from ebsim.cli.parameters import volume_options
from ebsim.requests import VolumeRequest


@click.command(
    "import",
    help="""Create a volume with the content of a disk image or a block device.

    Holes of IMAGE stay unwritten. A device tells no holes: its zeros count as written, and are
    charged as such in snapshots. The volume's size is that of IMAGE, rounded up to whole GiB; the
    rest reads as zeros.

    The store is made if its folder is missing or empty.""",
    epilog=examples(
        "ebsim volume import disk.img --tag Name=web1",
        "ebsim volume import disk.img --size 100 --type gp3",
    ),
)
@click.argument("image", type=NamedPath())
@click.option("size_gib", "--size", type=int, metavar="GIB", help="A larger size, in whole GiB.")
@encryption_options
@volume_options
@shared_options
@click.pass_obj
def command(invocation: Invocation, *, image: str, request: VolumeRequest) -> None:
    """Import the image and show the volume."""

    def check() -> None:
        from ebsim.volumes.importing import opened_image

        with opened_image(Path(image), request, invocation.store_path):
            invocation.ensure_zone(request.zone)

    with (
        invocation.open_store(create=True, before_making=check) as store,
        invocation.progress() as progress,
    ):
        volume = store.volumes.import_image(image, request, progress)
    invocation.answer(volume, volume_views.volume_document, volume_views.created_text)
