"""`ebsim key protect`."""

from pathlib import Path

import click

from ebsim.cli import key_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.keys import ask_new_passphrase
from ebsim.cli.options import NamedPath, examples, key_options, store_options
from ebsim.keys.refusals import keyring_missing
from ebsim.keys.unlocking import Unlocking


@click.command(
    "protect",
    help="""Show how the keyring is protected, or protect it otherwise from now on.

    What protects it now is given as for every other command, or typed. A copy of the keyring that
    was made before still opens with what protected it then.""",
    epilog=examples(
        "ebsim key protect",
        "ebsim key protect --new-passphrase",
        "ebsim key protect --key-file old --new-key-file new",
    ),
)
@click.option("typed", "--new-passphrase", is_flag=True, help="Ask for a new passphrase.")
@click.option(
    "new_command",
    "--new-passphrase-command",
    metavar="COMMAND",
    help="Take what this prints for the new passphrase.",
)
@click.option(
    "new_key_file",
    "--new-key-file",
    type=NamedPath(path_type=Path),
    metavar="FILE",
    help="A file of at least 32 bytes that are hard to guess.",
)
@click.option("no_protection", "--none", is_flag=True, help="By the mode of its file alone.")
@key_options(hidden=False)
@store_options
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    typed: bool,
    new_command: str | None,
    new_key_file: Path | None,
    no_protection: bool,
) -> None:
    """Protect the keyring, if asked to, and show how it is."""
    wanted = [typed, new_command is not None, new_key_file is not None, no_protection]
    if sum(wanted) > 1:
        raise click.UsageError("Give one way to protect it.", click.get_current_context())
    with invocation.open_store() as store:
        if any(wanted):
            passphrase = ask_new_passphrase if typed else None
            store.keys.protect(
                Unlocking(
                    passphrase=passphrase, passphrase_command=new_command, key_file=new_key_file
                )
            )
        shown = (str(store.keys.keyring_path), store.keys.protection())
    if shown[1] is None:
        raise keyring_missing(Path(shown[0]))
    invocation.answer(
        (shown[0], shown[1]),
        lambda shown: {"Keyring": shown[0], "Protection": shown[1]},
        lambda shown: key_views.protection_text(*shown),
    )
