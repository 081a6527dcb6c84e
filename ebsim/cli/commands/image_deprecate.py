"""`ebsim image deprecate`."""

import click

from ebsim.cli import life_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import parse_time


@click.command(
    "deprecate",
    help="""Have an image deprecated from a time on, or cancel that.

    A deprecated image is still there and still holds its snapshots; it only says that it should not
    be used any more.""",
    epilog=examples(
        "ebsim image deprecate ami-0123456789abcdef0 --at 2027-01-31",
        "ebsim image deprecate ami-0123456789abcdef0 --at 2027-01-31T12:30Z",
        "ebsim image deprecate ami-0123456789abcdef0 --cancel",
    ),
)
@click.argument("image", metavar="AMI")
@click.option(
    "time_us",
    "--at",
    metavar="TIME",
    callback=parse_time,
    help="In UTC, rounded up to a minute; not in the past, and within ten years.",
)
@click.option("--cancel", is_flag=True, help="Never, unless it is asked for again.")
@shared_options
@click.pass_obj
def command(invocation: Invocation, image: str, time_us: int | None, cancel: bool) -> None:
    """Set the time and show the image."""
    if cancel == (time_us is not None):
        raise click.UsageError("Give either --at TIME or --cancel.", click.get_current_context())
    with invocation.open_store() as store:
        shown = store.images.deprecate(image, time_us)
    invocation.answer(shown, life_views.image_document, life_views.image_text)
