"""`ebsim image deregister`."""

import click

from ebsim.cli import life_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "deregister",
    help="""Deregister an image. Its snapshots stay, and can be deleted from now on.

    With --delete-associated-snapshots they are deleted too, and what became of each is told:
    success, or skipped where another image needs it.""",
    epilog=examples(
        "ebsim image deregister ami-0123456789abcdef0",
        "ebsim image deregister ami-0123456789abcdef0 --delete-associated-snapshots",
    ),
)
@click.argument("image", metavar="AMI")
@click.option("--delete-associated-snapshots", is_flag=True, help="Also delete its snapshots.")
@shared_options
@click.pass_obj
def command(invocation: Invocation, image: str, delete_associated_snapshots: bool) -> None:
    """Deregister the image and print what became of its snapshots."""
    with invocation.open_store() as store:
        done = store.images.deregister(
            image, delete_associated_snapshots=delete_associated_snapshots
        )
    invocation.answer(done, life_views.deregistration_document, life_views.deregistration_text)
