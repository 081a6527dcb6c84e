"""`ebsim tag list`."""

import click

from ebsim.cli import volume_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import filter_option
from ebsim.requests import Filter, TagQuery


@click.command(
    "list",
    help="""List the tags of snapshots, volumes and images: of those named, or of all.""",
    epilog=examples(
        "ebsim tag list snap-0123456789abcdef0",
        "ebsim tag list --filter Name=resource-type,Values=volume --filter Name=key,Values=Name",
    ),
)
@click.argument("resources", metavar="[ID...]", nargs=-1)
@filter_option("key, resource-id, resource-type, tag:KEY, value")
@shared_options
@click.pass_obj
def command(
    invocation: Invocation, resources: tuple[str, ...], filters: tuple[Filter, ...]
) -> None:
    """Print the tags."""
    with invocation.open_store() as store:
        tags = store.tags.list(TagQuery(resource_ids=resources, filters=filters))
    invocation.answer(tags, volume_views.tags_document, volume_views.tags_text)
