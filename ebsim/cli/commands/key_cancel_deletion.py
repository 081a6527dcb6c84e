"""`ebsim key cancel-deletion`."""

import click

from ebsim.cli import key_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "cancel-deletion",
    help="""Keep a key whose deletion was scheduled.

    It is disabled then: 'key enable' lets it be used again.""",
    epilog=examples(
        "ebsim key cancel-deletion alias/web",
    ),
)
@click.argument("key", metavar="KEY")
@shared_options
@click.pass_obj
def command(invocation: Invocation, key: str) -> None:
    """Cancel the deletion."""
    with invocation.open_store() as store:
        changed = store.keys.cancel_deletion(key)
    invocation.answer(changed, key_views.state_document, key_views.state_text)
