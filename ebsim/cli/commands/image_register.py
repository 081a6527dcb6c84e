"""`ebsim image register`."""

import click

from ebsim.cli import life_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import tag_option
from ebsim.requests import BlockDevice, ImageOptions


def _parse_devices(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, BlockDevice]:
    """Return devices given as NAME=SNAP, NAME=SNAP:SIZE or NAME=SNAP:SIZE:TYPE.

    Raises:
        click.BadParameter: One has another form, or a name was given twice.
    """
    devices: dict[str, BlockDevice] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        snapshot_id, *others = rest.split(":")
        if not equals or len(others) > 2 or not all(others[1:]):
            raise click.BadParameter(
                f"'{text}' is not NAME=SNAP[:SIZE[:TYPE]].", context, parameter
            )
        if name in devices:
            raise click.BadParameter(f"the device '{name}' was given twice.", context, parameter)
        if others and others[0] and not others[0].isdecimal():
            raise click.BadParameter(f"'{others[0]}' is no size in GiB.", context, parameter)
        size_gib = int(others[0]) if others and others[0] else None
        device = BlockDevice(snapshot_id, size_gib)
        if len(others) == 2:
            device = BlockDevice(snapshot_id, size_gib, others[1])
        devices[name] = device
    return devices


@click.command(
    "register",
    help="""Register an image of completed snapshots.

    NAME has 3 to 128 letters, digits, spaces and ( ) [ ] . / - ' @ _, and no other registered image
    has it. From now on the snapshots cannot be deleted.""",
    epilog=examples(
        "ebsim image register web-1.0 --device /dev/xvda=snap-0123456789abcdef0",
        "ebsim image register web-1.1 --device /dev/xvda=snap-0123456789abcdef0:8:gp3 \\",
        "    --device /dev/sdb=snap-0fedcba9876543210 --description 'with its data'",
    ),
)
@click.argument("name")
@click.option(
    "devices",
    "--device",
    metavar="NAME=SNAP[:SIZE[:TYPE]]",
    multiple=True,
    required=True,
    callback=_parse_devices,
    help="A block device: its snapshot, and the size in GiB and the type of its volume.",
)
@click.option("--root-device", metavar="NAME", help="The device to start from, else the first.")
@click.option("--description", default="", metavar="TEXT", help="Free text, to 255 characters.")
@click.option(
    "--architecture",
    default="x86_64",
    show_default=True,
    metavar="NAME",
    help="i386, x86_64, arm64, x86_64_mac or arm64_mac.",
)
@tag_option("A tag; may be given up to 50 times.")
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    name: str,
    devices: dict[str, BlockDevice],
    root_device: str | None,
    description: str,
    architecture: str,
    tags: dict[str, str],
) -> None:
    """Register the image and show it."""
    options = ImageOptions(
        description=description,
        architecture=architecture,
        root_device_name=root_device,
        tags=tags,
    )
    with invocation.open_store() as store:
        image = store.images.register(name, devices, options)
    invocation.answer(image, life_views.image_document, life_views.image_text)
