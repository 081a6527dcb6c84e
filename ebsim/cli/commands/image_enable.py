"""`ebsim image enable`."""

import click

from ebsim.cli import life_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "enable",
    help="""Enable a disabled image again.""",
    epilog=examples("ebsim image enable ami-0123456789abcdef0"),
)
@click.argument("image", metavar="AMI")
@shared_options
@click.pass_obj
def command(invocation: Invocation, image: str) -> None:
    """Enable the image and show it."""
    with invocation.open_store() as store:
        shown = store.images.enable(image)
    invocation.answer(shown, life_views.image_document, life_views.image_text)
