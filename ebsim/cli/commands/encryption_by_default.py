"""`ebsim encryption-by-default`."""

import click

from ebsim.cli import key_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, key_options, store_options


@click.command(
    "encryption-by-default",
    help="""Show or set what is encrypted in the account and this Region where nobody says so.

    enable: all new volumes and copies are encrypted. disable: only those that are asked to be, and
    those of encrypted snapshots. What exists stays as it is.

    The default key is taken where none is named: the AWS managed key alias/aws/ebs, or the one that
    was set with --key.""",
    epilog=examples(
        "ebsim encryption-by-default",
        "ebsim encryption-by-default enable --key alias/web",
        "ebsim encryption-by-default --reset-key",
    ),
)
@click.argument(
    "change", metavar="[CHANGE]", required=False, type=click.Choice(["enable", "disable"])
)
@click.option("--key", metavar="KEY", help="Have this key be the default key.")
@click.option("--reset-key", is_flag=True, help="Have alias/aws/ebs be the default key again.")
@key_options(hidden=False)
@store_options
@click.pass_obj
def command(
    invocation: Invocation, change: str | None, *, key: str | None, reset_key: bool
) -> None:
    """Change what is asked for, and show what holds now."""
    if key is not None and reset_key:
        raise click.UsageError("Give either --key KEY or --reset-key.", click.get_current_context())
    with invocation.open_store(create=change is not None or key is not None) as store:
        if key is not None:
            store.encryption.modify_default_kms_key_id(key)
        if reset_key:
            store.encryption.reset_default_kms_key_id()
        if change == "enable":
            store.encryption.enable_by_default()
        if change == "disable":
            store.encryption.disable_by_default()
        shown = store.encryption.defaults()
    invocation.answer(shown, key_views.by_default_document, key_views.by_default_text)
