"""`ebsim tag create`."""

import click

from ebsim.cli import volume_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import tag_option


@click.command(
    "create",
    help="""Put tags on snapshots, volumes and images.

    A key that a resource has already gets the new value. If one resource is refused, none of them
    is changed.""",
    epilog=examples(
        "ebsim tag create snap-0123456789abcdef0 --tag Name=nightly --tag keep=",
        "ebsim tag create snap-0123456789abcdef0 vol-0123456789abcdef0 --tag env=prod",
    ),
)
@click.argument("resources", metavar="ID...", nargs=-1, required=True)
@tag_option("A tag; at least one, and any number of them.")
@shared_options
@click.pass_obj
def command(invocation: Invocation, resources: tuple[str, ...], tags: dict[str, str]) -> None:
    """Put the tags on."""
    with invocation.open_store() as store:
        store.tags.create(resources, tags)
    invocation.answer(
        resources,
        lambda ids: {"ResourceIds": ids, "Tags": volume_views.tag_set(tags)},
        lambda ids: volume_views.tagged_text(ids, "Tagged"),
    )
