"""`ebsim key disable`."""

import click

from ebsim.cli import key_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "disable",
    help="""Have a key be unusable, and all that it encrypts with it, at once.

    Nothing is lost: 'key enable' ends it.""",
    epilog=examples(
        "ebsim key disable alias/web",
    ),
)
@click.argument("key", metavar="KEY")
@shared_options
@click.pass_obj
def command(invocation: Invocation, key: str) -> None:
    """Disable the key."""
    with invocation.open_store() as store:
        changed = store.keys.disable(key)
    invocation.answer(changed, key_views.state_document, key_views.state_text)
