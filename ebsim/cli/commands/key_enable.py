"""`ebsim key enable`."""

import click

from ebsim.cli import key_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "enable",
    help="""Let a disabled key be used again.""",
    epilog=examples(
        "ebsim key enable alias/web",
    ),
)
@click.argument("key", metavar="KEY")
@shared_options
@click.pass_obj
def command(invocation: Invocation, key: str) -> None:
    """Enable the key."""
    with invocation.open_store() as store:
        changed = store.keys.enable(key)
    invocation.answer(changed, key_views.state_document, key_views.state_text)
