"""`ebsim snapshot copy`."""

from pathlib import Path

import click

from ebsim.cli import json_views, text_views
from ebsim.cli.encryption_options import encryption_options
from ebsim.cli.invocation import Invocation
from ebsim.cli.off_site_copy import copy_off_site, other_key_options
from ebsim.cli.options import NamedPath, examples, shared_options
from ebsim.cli.parameters import tag_option
from ebsim.config import SnapshotOptions
from ebsim.off_site import OffSiteRequest


@click.command(
    "copy",
    help="""Copy a snapshot, within a Region, to another, or from another account that shares it.

    A copy in the same Region and account is made at once and charged nothing: it shares all blocks.
    The first copy to another Region or account is full, the next ones are charged what differs from
    the latest one there. Equal blocks are stored once, wherever they are charged. Tags, sharing and
    locks are not copied.

    An encrypted snapshot stays encrypted. A copy under another key is a full one, and so is the one
    that encrypts what was not; a copy in another Region has a key of that Region.

    --to-store copies snapshots to another store on this machine, best on another disk: a backup
    that outlives this store. Only blocks that are not there are copied, proved when they are read
    and again when they are written. A copy that is interrupted stays pending there, and the next
    one goes on with it. Copies of encrypted snapshots are encrypted with keys of that store's own
    keyring, and all copies are with --encrypted. Exit code 1 if a snapshot could not be copied.""",
    epilog=examples(
        "ebsim snapshot copy snap-0123456789abcdef0 --description kept",
        "ebsim snapshot copy snap-0123456789abcdef0 --to-region eu-central-1",
        "ebsim snapshot copy snap-0123456789abcdef0 --encrypted --kms-key alias/disks",
        "ebsim --account 111122223333 snapshot copy snap-0123456789abcdef0",
        "ebsim snapshot copy --all --to-store /media/usb/ebsim --create",
    ),
)
@click.argument("snapshots", metavar="SNAP...", nargs=-1)
@click.option("--to-region", metavar="NAME", help="Where the copy goes; by default, this Region.")
@click.option(
    "--from-region", metavar="NAME", help="Where the snapshot lies; by default, this Region."
)
@click.option("--description", default="", metavar="TEXT", help="Free text, to 255 characters.")
@encryption_options
@click.option(
    "--to-store",
    "other",
    metavar="OTHER",
    type=NamedPath(path_type=Path),
    help="Copy to another store on this machine.",
)
@click.option(
    "--all", "all_snapshots", is_flag=True, help="To another store: all completed snapshots."
)
@click.option(
    "--create", is_flag=True, help="Make the other store if its folder is missing or empty."
)
@click.option(
    "--copy-tags", is_flag=True, help="To another store: give the copies the tags of their sources."
)
@click.option(
    "--dry-run", is_flag=True, help="To another store: tell what would be copied, and how much."
)
@other_key_options("to")
@tag_option("A tag of the copy; may be given up to 50 times.")
@shared_options
@click.pass_context
def command(
    context: click.Context,
    snapshots: tuple[str, ...],
    *,
    to_region: str | None,
    from_region: str | None,
    description: str,
    encrypted: bool | None,
    kms_key: str | None,
    other: Path | None,
    all_snapshots: bool,
    create: bool,
    copy_tags: bool,
    dry_run: bool,
    other_keyring: Path | None,
    other_key_file: Path | None,
    other_passphrase_command: str | None,
    tags: dict[str, str],
) -> None:
    """Copy the snapshot and show the copy, or copy all that are named to another store."""
    invocation = context.ensure_object(Invocation)
    if other is not None:
        if to_region or from_region:
            raise click.UsageError("Regions cannot be named together with --to-store.")
        if all_snapshots == bool(snapshots):
            raise click.UsageError("With --to-store, name snapshots or use --all.")
        request = OffSiteRequest(
            snapshot_ids=snapshots,
            all_snapshots=all_snapshots,
            description=description,
            tags=tags,
            copy_tags=copy_tags,
            encrypted=encrypted,
            kms_key_id=kms_key,
            dry_run=dry_run,
        )
        invocation.keys.use_other(
            other,
            keyring=other_keyring,
            key_file=other_key_file,
            passphrase_command=other_passphrase_command,
        )
        context.exit(copy_off_site(invocation, other, request, create=create))
    if all_snapshots or create or copy_tags or dry_run:
        raise click.UsageError("--all, --create, --copy-tags and --dry-run need --to-store.")
    if other_keyring or other_key_file or other_passphrase_command:
        raise click.UsageError("Options on the keyring of another store need --to-store.")
    if len(snapshots) != 1:
        raise click.UsageError("Name one snapshot; several can be copied with --to-store only.")
    options = SnapshotOptions(
        description=description, tags=tags, encrypted=encrypted, kms_key_id=kms_key
    )
    source_region = from_region or invocation.region
    with invocation.open_store() as store, invocation.progress() as progress:
        there = store.as_account(region=to_region)
        copied = there.copy_snapshot(snapshots[0], source_region, options, progress)
        stats = store.stats()
    invocation.answer(
        copied, json_views.snapshot, lambda record: text_views.snapshot_copied(record, stats)
    )
