"""`ebsim init`."""

import click

from ebsim.cli import json_views, text_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, key_options, store_options


@click.command(
    "init",
    help="""Make an empty store.

    This is optional: 'snapshot create' makes the store if its folder is missing or empty. A folder
    that holds anything else is refused.

    With --keyring, the store looks for its keyring there from now on.""",
    epilog=examples(
        "ebsim init",
        "ebsim init --store /backup/ebsim --keyring /media/stick/keyring.json",
    ),
)
@key_options(hidden=False)
@store_options
@click.pass_obj
def command(invocation: Invocation) -> None:
    """Make the store and say where and what it is."""
    place = invocation.keys.named_keyring
    if place is not None:
        from ebsim.core.key_access import outside_store

        outside_store(place, invocation.store_path)
    with invocation.create_store() as store:
        if place is not None:
            store.keys.set_place(place)
        made = (str(store.path), store.store_id)
    invocation.answer(
        made,
        lambda made: json_views.store_made(*made),
        lambda made: text_views.store_made(*made),
    )
