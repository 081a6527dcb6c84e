"""`ebsim key export`."""

from pathlib import Path

import click

from ebsim.cli import key_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import NamedPath, examples, key_options, store_options


@click.command(
    "export",
    help="""Write the recovery copy of the keyring to a new file, to be printed.

    It holds the keys of all accounts, without any passphrase. Keep it where neither the store nor
    its disk is: whoever loses the keyring, and has no recovery copy, loses every encrypted volume
    and snapshot.""",
    epilog=examples(
        "ebsim key export recovery.txt",
    ),
)
@click.argument("target", metavar="FILE", type=NamedPath(path_type=Path))
@key_options(hidden=False)
@store_options
@click.pass_obj
def command(invocation: Invocation, target: Path) -> None:
    """Write the recovery copy."""
    with invocation.open_store() as store:
        store.keys.export(target.absolute())
    invocation.answer(str(target), lambda path: {"RecoveryCopy": path}, key_views.exported_text)
