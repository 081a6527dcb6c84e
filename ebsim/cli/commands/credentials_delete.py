"""`ebsim credentials delete`."""

import click

from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.server_extra import credentials_of


@click.command(
    "delete",
    help="Delete a key: requests that are signed with it are refused from now on.",
    epilog=examples("ebsim credentials delete AKIAIOSFODNN7EXAMPLE"),
)
@click.argument("access_key", metavar="KEY")
@shared_options
@click.pass_obj
def command(invocation: Invocation, access_key: str) -> None:
    """Delete the key."""
    with invocation.open_store() as store:
        credentials_of(store).delete(access_key)
    invocation.answer(
        access_key, lambda gone: {"AccessKeyId": gone}, lambda gone: f"Deleted the key {gone}."
    )
