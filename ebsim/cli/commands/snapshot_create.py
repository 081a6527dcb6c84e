"""`ebsim snapshot create`."""

from pathlib import Path

import click

from ebsim.cli import json_views, text_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import NamedPath, examples, shared_options
from ebsim.config import Compression, SnapshotOptions
from ebsim.errors import InvalidInputError
from ebsim.ids import parse_snapshot_id, parse_volume_id


def _parse_tags(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, str]:
    """Return tags given as KEY=VALUE; a value may be empty and may hold further equals signs.

    Raises:
        click.BadParameter: There is no equals sign, or a key was given twice.
    """
    tags: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"'{text}' is not KEY=VALUE.", context, parameter)
        if key in tags:
            raise click.BadParameter(f"the key '{key}' was given twice.", context, parameter)
        tags[key] = value
    return tags


def _parse_compression(
    context: click.Context, parameter: click.Parameter, text: str
) -> Compression:
    """Return the compression named.

    Raises:
        click.BadParameter: There is none of that name.
    """
    try:
        return Compression.parse(text)
    except InvalidInputError as error:
        raise click.BadParameter(str(error), context, parameter) from error


@click.command(
    "create",
    help="""Snapshot a disk image or a block device.

    SOURCE is opened read-only and read once; holes are skipped, and only blocks that no snapshot
    holds yet are stored. The source's volume is remembered by its real path, so that the next
    snapshot of SOURCE is incremental on this one.

    It does not make the source stand still: a file system that is mounted and written to may change
    while it is read. Give its mount point to --freeze, or snapshot an image that nobody writes to.
    A source that changes size or cannot be read ends as a snapshot in state 'error', exit code 1.

    The store is made if its folder is missing or empty.""",
    epilog=examples(
        "ebsim snapshot create disk.img --description nightly --tag Name=web1",
        "ebsim snapshot create /dev/loop0 --freeze /mnt/data",
        "ebsim snapshot create moved.img --volume vol-0123456789abcdef0",
    ),
)
@click.argument("source", type=NamedPath())
@click.option("--description", default="", metavar="TEXT", help="Free text, to 255 characters.")
@click.option(
    "tags",
    "--tag",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_parse_tags,
    help="A tag; may be given up to 50 times. Name is shown by 'snapshot list'.",
)
@click.option(
    "--volume",
    metavar="VOL",
    help="The volume that SOURCE continues, where its path has changed.",
)
@click.option(
    "--new-volume",
    is_flag=True,
    help="Start another volume although the path is known: the snapshot is full.",
)
@click.option(
    "--parent",
    metavar="SNAP",
    help="Start a new volume at this snapshot, as a volume created from it does: a branch.",
)
@click.option(
    "--compression",
    metavar="zstd:LEVEL|none",
    callback=_parse_compression,
    default="zstd:1",
    show_default=True,
    help="How new blocks are stored; LEVEL from 1 to 19. It does not change what is charged.",
)
@click.option(
    "--freeze",
    type=NamedPath(path_type=Path),
    metavar="MOUNTPOINT",
    help="Hold writes to the file system mounted there while SOURCE is read (needs root).",
)
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    source: str,
    description: str,
    tags: dict[str, str],
    volume: str | None,
    new_volume: bool,
    parent: str | None,
    compression: Compression,
    freeze: Path | None,
) -> None:
    """Take the snapshot and show it."""
    options = SnapshotOptions(
        description=description,
        tags=tags,
        volume_id=None if volume is None else parse_volume_id(volume),
        new_volume=new_volume,
        parent=None if parent is None else parse_snapshot_id(parent),
        compression=compression,
        freeze=freeze,
    )
    with invocation.open_store(create=True) as store:
        with invocation.progress() as progress:
            snapshot = store.create_snapshot(source, options, progress)
        invocation.answer(
            snapshot,
            json_views.snapshot,
            lambda snapshot: text_views.created(snapshot, store.stats()),
        )
