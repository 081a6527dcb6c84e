"""`ebsim key place`."""

from pathlib import Path

import click

from ebsim.cli import key_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import NamedPath, examples, shared_options


@click.command(
    "place",
    help="""Show where the keyring is, or have the store look for it elsewhere from now on.

    No file is moved: move the keyring there yourself, before or afterwards.""",
    epilog=examples(
        "ebsim key place",
        "ebsim key place /media/stick/keyring.json",
        "ebsim key place --in-store",
    ),
)
@click.argument("target", metavar="[FILE]", required=False, type=NamedPath(path_type=Path))
@click.option("--in-store", is_flag=True, help="In the store's folder, as keyring.json.")
@shared_options
@click.pass_obj
def command(invocation: Invocation, target: Path | None, *, in_store: bool) -> None:
    """Set the place, if one is given, and show it."""
    if target is not None and in_store:
        raise click.UsageError("Give either FILE or --in-store.", click.get_current_context())
    with invocation.open_store() as store:
        if target is not None or in_store:
            store.keys.set_place(target)
        path = store.keys.keyring_path
    invocation.answer(
        path,
        lambda path: {"Keyring": str(path), "Exists": path.is_file()},
        key_views.place_text,
    )
