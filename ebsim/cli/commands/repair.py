"""`ebsim repair`."""

from pathlib import Path

import click

from ebsim.cli import repair_views
from ebsim.cli.failures import EXIT_FAILED
from ebsim.cli.invocation import Invocation
from ebsim.cli.off_site_copy import other_key_options
from ebsim.cli.options import NamedPath, examples, shared_options


@click.command(
    "repair",
    help="""Heal damaged records, where their bytes can be found again.

    Every stored byte is read and proved, as by `check --data`. A damaged block is written anew from
    what is left of its record, from the live data of its volume, from the image or device that it
    was scanned from, from another copy in the store, or from another store that --from names; only
    if those bytes have the block's hash. A block that is found nowhere is healed by the next
    snapshot that has its content. Everything else that segments hold is written anew from the
    catalog.

    An encrypted block is healed if its key can be had, from another store only if that store's
    keyring can be opened, too.

    What was damaged is never thrown away: it is kept in the folder set-aside of the store. A store
    without damage is left byte for byte. Snapshots may be made, read and deleted meanwhile; it can
    be broken off at any moment: what was healed stays healed.

    --dry-run tells beforehand what would be healed, and from where, and changes nothing. Exit code
    1 if anything stays damaged.""",
    epilog=examples(
        "ebsim repair --dry-run", "ebsim repair", "ebsim repair --from /backup/store --json"
    ),
)
@click.option("--dry-run", is_flag=True, help="Tell what would be healed.")
@click.option(
    "--from", "other", metavar="STORE", type=NamedPath(), help="Another store to look in."
)
@other_key_options("from")
@shared_options
@click.pass_context
def command(
    context: click.Context,
    *,
    dry_run: bool,
    other: str | None,
    other_keyring: Path | None,
    other_key_file: Path | None,
    other_passphrase_command: str | None,
) -> None:
    """Repair, print what became of each damaged record, and exit with 1 if one stays damaged."""
    invocation = context.ensure_object(Invocation)
    named = other_keyring or other_key_file or other_passphrase_command
    if named and other is None:
        raise click.UsageError("Options on the keyring of another store need --from.")
    keys = None
    if other is not None:
        invocation.keys.use_other(
            Path(other),
            keyring=other_keyring,
            key_file=other_key_file,
            passphrase_command=other_passphrase_command,
        )
        keys = invocation.keys.of_store(Path(other)).access()
    with invocation.open_store() as store, invocation.progress() as progress:
        report = store.repair(other=other, other_keys=keys, dry_run=dry_run, progress=progress)
    invocation.answer(report, repair_views.repair_document, repair_views.repair_text)
    if report.unhealed:
        context.exit(EXIT_FAILED)
