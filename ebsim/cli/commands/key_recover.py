"""`ebsim key recover`."""

from pathlib import Path

import click

from ebsim.cli import key_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import NamedPath, examples, key_options, store_options


@click.command(
    "recover",
    help="""Make a keyring that was lost again, from its recovery copy.

    It is protected by the passphrase or key file that is given, else by the mode of its file alone.
    A keyring that is there is not replaced. A line that was mistyped is named.""",
    epilog=examples(
        "ebsim key recover recovery.txt --key-file /media/stick/key",
    ),
)
@click.argument("source", metavar="FILE", type=NamedPath(path_type=Path))
@key_options(hidden=False)
@store_options
@click.pass_obj
def command(invocation: Invocation, source: Path) -> None:
    """Make the keyring again."""
    text = source.read_text(encoding="utf-8", errors="replace")
    with invocation.open_store() as store:
        keys = store.keys.recover(text)
        path = str(store.keys.keyring_path)
    invocation.answer(
        (path, keys),
        lambda made: {"Keyring": made[0], "Keys": made[1]},
        lambda made: key_views.recovered_text(*made),
    )
