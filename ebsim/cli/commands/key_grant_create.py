"""`ebsim key grant create`."""

import click

from ebsim.cli import key_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.keys.records import EBS_OPERATIONS, KeyOperation


@click.command(
    "create",
    help="""Let another account use a key.

    This is what an account needs, beside the snapshot being shared with it, to copy an encrypted
    snapshot or make a volume of it. Without --operation, all that this needs is granted.""",
    epilog=examples(
        "ebsim key grant create alias/web --grantee 111122223333",
    ),
)
@click.argument("key", metavar="KEY")
@click.option("--grantee", required=True, metavar="ID", help="The account, 12 digits.")
@click.option(
    "operations",
    "--operation",
    multiple=True,
    type=click.Choice([each.value for each in KeyOperation]),
    help="What it may do; any number of them.",
)
@click.option("--name", default="", metavar="TEXT", help="What the grant is called.")
@shared_options
@click.pass_obj
def command(
    invocation: Invocation, key: str, *, grantee: str, operations: tuple[str, ...], name: str
) -> None:
    """Make the grant and show it."""
    wanted = tuple(KeyOperation(each) for each in operations) or EBS_OPERATIONS
    with invocation.open_store() as store:
        grant = store.keys.create_grant(key, grantee, wanted, name)
    invocation.answer(grant, key_views.grant_document, key_views.grant_text)
