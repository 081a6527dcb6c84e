"""`ebsim volume show`."""

import click

from ebsim.cli import volume_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "show",
    help="""Show everything about one volume, its last modification included.""",
    epilog=examples("ebsim volume show vol-0123456789abcdef0"),
)
@click.argument("volume", metavar="VOL")
@shared_options
@click.pass_obj
def command(invocation: Invocation, volume: str) -> None:
    """Print one volume."""
    with invocation.open_store() as store:
        shown = store.volumes.get(volume)
        modifications = store.volumes.modifications([volume])
    answer = (shown, modifications[0] if modifications else None)
    invocation.answer(answer, volume_views.shown_document, volume_views.volume_text)
