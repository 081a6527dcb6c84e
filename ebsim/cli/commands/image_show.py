"""`ebsim image show`."""

import click

from ebsim.cli import life_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "show",
    help="""Show everything about one image, disabled or not.""",
    epilog=examples("ebsim image show ami-0123456789abcdef0"),
)
@click.argument("image", metavar="AMI")
@shared_options
@click.pass_obj
def command(invocation: Invocation, image: str) -> None:
    """Print the image."""
    with invocation.open_store() as store:
        shown = store.images.get(image)
    invocation.answer(shown, life_views.image_document, life_views.image_text)
