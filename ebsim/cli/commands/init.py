"""`ebsim init`."""

import click

from ebsim.cli import json_views, text_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "init",
    help="""Make an empty store.

    This is optional: 'snapshot create' makes the store if its folder is missing or empty. A folder
    that holds anything else is refused.""",
    epilog=examples("ebsim init", "ebsim init --store /backup/ebsim"),
)
@shared_options
@click.pass_obj
def command(invocation: Invocation) -> None:
    """Make the store and say where and what it is."""
    with invocation.create_store() as store:
        made = (str(store.path), store.store_id)
    invocation.answer(
        made,
        lambda made: json_views.store_made(*made),
        lambda made: text_views.store_made(*made),
    )
