"""`ebsim key rotate`."""

import click

from ebsim.cli import key_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "rotate",
    help="""Give a key new material, and wrap the data keys in the store anew with it.

    No data are touched. Make a new recovery copy afterwards: an earlier one does not hold the new
    material.""",
    epilog=examples(
        "ebsim key rotate alias/web",
    ),
)
@click.argument("key", metavar="KEY")
@shared_options
@click.pass_obj
def command(invocation: Invocation, key: str) -> None:
    """Rotate the key."""
    with invocation.open_store() as store:
        rotated = store.keys.rotate(key)
    invocation.answer(rotated, lambda key: {"KeyId": key.arn}, key_views.rotated_text)
