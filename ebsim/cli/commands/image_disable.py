"""`ebsim image disable`."""

import click

from ebsim.cli import life_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "disable",
    help="""Disable an image: it is hidden, until it is enabled again.

    Its snapshots cannot be deleted all the same.""",
    epilog=examples("ebsim image disable ami-0123456789abcdef0"),
)
@click.argument("image", metavar="AMI")
@shared_options
@click.pass_obj
def command(invocation: Invocation, image: str) -> None:
    """Disable the image and show it."""
    with invocation.open_store() as store:
        shown = store.images.disable(image)
    invocation.answer(shown, life_views.image_document, life_views.image_text)
