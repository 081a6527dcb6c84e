"""`ebsim snapshot create`."""

from collections.abc import Sequence
from pathlib import Path

import click

from ebsim.cli import json_views, text_views
from ebsim.cli.encryption_options import encryption_options
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import NamedPath, examples, shared_options
from ebsim.cli.output import Json
from ebsim.cli.parameters import tag_option
from ebsim.cli.signals import StoppedBySignal
from ebsim.config import Compression, SnapshotOptions
from ebsim.errors import InvalidInputError, SnapshotFailedError
from ebsim.ids import names_volume, parse_snapshot_id, parse_volume_id
from ebsim.results import Snapshot, SnapshotState


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
    help="""Snapshot a disk image, a block device, or managed volumes.

    A SOURCE that is a path is opened read-only and read once; holes are skipped, and only blocks
    that no snapshot holds yet are stored. The source's volume is remembered by its real path, so
    that the next snapshot of SOURCE is incremental on this one.

    It does not make the source stand still: a file system that is mounted and written to may change
    while it is read. Give its mount point to --freeze, or snapshot an image that nobody writes to.
    A source that changes size or cannot be read ends as a snapshot in state 'error', exit code 1.

    A SOURCE that is the id of a managed volume (vol-...) is copied as it was when the command
    began, whatever is written to it meanwhile. Several volumes are snapshotted at one point in
    time, and complete together or not at all.

    The store is made if its folder is missing or empty.""",
    epilog=examples(
        "ebsim snapshot create disk.img --description nightly --tag Name=web1",
        "ebsim snapshot create /dev/loop0 --freeze /mnt/data",
        "ebsim snapshot create moved.img --volume vol-0123456789abcdef0",
        "ebsim snapshot create vol-0123456789abcdef0 vol-0fedcba9876543210 --no-wait",
    ),
)
@click.argument("sources", metavar="SOURCE...", type=NamedPath(), nargs=-1, required=True)
@click.option("--description", default="", metavar="TEXT", help="Free text, to 255 characters.")
@tag_option("A tag; may be given up to 50 times. Name is shown by 'snapshot list'.")
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
@encryption_options
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
@click.option(
    "--no-wait",
    is_flag=True,
    help="Of managed volumes: leave the copying to a background process, and return at once.",
)
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    sources: tuple[str, ...],
    description: str,
    tags: dict[str, str],
    volume: str | None,
    new_volume: bool,
    parent: str | None,
    encrypted: bool | None,
    kms_key: str | None,
    compression: Compression,
    freeze: Path | None,
    no_wait: bool,
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
        encrypted=encrypted,
        kms_key_id=kms_key,
    )
    if all(names_volume(source) for source in sources):
        _snapshot_volumes(invocation, sources, options, no_wait=no_wait)
        return
    if len(sources) > 1:
        raise click.UsageError("Several sources at once must be managed volumes (vol-...).")
    if no_wait:
        raise click.UsageError("--no-wait is for managed volumes: a source has to be read now.")

    def check() -> None:
        from ebsim.core.snapshots import check_options
        from ebsim.storage.freeze import open_point_in_time

        check_options(options)
        with open_point_in_time(sources[0], None, invocation.store_path):
            pass

    new = not (volume or parent)  # which only a store has that is there already
    with invocation.open_store(create=new, before_making=check) as store:
        with invocation.progress() as progress:
            snapshot = store.create_snapshot(sources[0], options, progress)
        invocation.answer(
            snapshot,
            json_views.snapshot,
            lambda snapshot: text_views.created(snapshot, store.stats()),
        )


def _snapshot_volumes(
    invocation: Invocation, volumes: tuple[str, ...], options: SnapshotOptions, *, no_wait: bool
) -> None:
    """Begin snapshots of managed volumes, and wait for them or leave them to a process."""
    document = json_views.snapshots if len(volumes) > 1 else _only_snapshot
    if no_wait:
        store = invocation.open_store()
        try:
            begun = store.create_snapshots(volumes, options)
        finally:
            store.close(wait=False)
        names = [snapshot.snapshot_id for snapshot in begun]
        process = invocation.start_in_background(["snapshot", "wait", *names])
        invocation.answer(begun, document, lambda shown: text_views.left_pending(shown, process))
        return
    with invocation.open_store(resume=True) as store:
        begun = store.create_snapshots(volumes, options)
        names = [each.snapshot_id for each in begun]
        try:
            with invocation.progress() as progress:
                ended = store.wait_snapshots(names, progress=progress)
        except StoppedBySignal as stop:
            stop.pending = tuple(names)
            raise
        for snapshot in ended:
            if snapshot.state is SnapshotState.ERROR:
                raise SnapshotFailedError(
                    f"snapshot {snapshot.snapshot_id} ended as error: {snapshot.state_message}",
                    snapshot_id=snapshot.snapshot_id,
                )
        invocation.answer(
            ended, document, lambda shown: text_views.created_of_volumes(shown, store.stats())
        )


def _only_snapshot(snapshots: Sequence[Snapshot]) -> Json:
    return json_views.snapshot(snapshots[0])
