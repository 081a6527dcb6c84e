"""`ebsim key create`."""

import click

from ebsim.cli import key_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, key_options, store_options


@click.command(
    "create",
    help="""Make a KMS key of the account, in this Region.

    The first key makes the keyring: keyring.json in the store, or elsewhere with --keyring. It is
    protected by a passphrase or a key file if one is given, else by the mode of its file alone.""",
    epilog=examples(
        "ebsim key create --alias alias/web --description 'Disks of the web servers'",
        "ebsim key create --keyring /media/stick/keyring.json --key-file /media/stick/key",
    ),
)
@click.option("--description", default="", metavar="TEXT", help="Free text.")
@click.option("--alias", metavar="ALIAS", help="A name for it, with alias/ before it.")
@key_options(hidden=False)
@store_options
@click.pass_obj
def command(invocation: Invocation, *, description: str, alias: str | None) -> None:
    """Make the key and show it."""
    with invocation.open_store(create=True) as store:
        key = store.keys.create(description, alias)
    invocation.answer(key, key_views.key_document, key_views.made_text)
