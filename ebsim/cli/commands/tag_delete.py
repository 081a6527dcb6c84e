"""`ebsim tag delete`."""

import click

from ebsim.cli import volume_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import parse_tags_to_delete


@click.command(
    "delete",
    help="""Remove tags from snapshots, volumes and images.

    KEY removes a tag whatever its value is, KEY=VALUE only if it has that value, KEY= only if its
    value is empty. A tag that is not there is no error. If one resource is refused, none of them is
    changed.""",
    epilog=examples(
        "ebsim tag delete snap-0123456789abcdef0 --tag Name",
        "ebsim tag delete snap-0123456789abcdef0 vol-0123456789abcdef0 --all",
    ),
)
@click.argument("resources", metavar="ID...", nargs=-1, required=True)
@click.option(
    "tags",
    "--tag",
    metavar="KEY[=VALUE]",
    multiple=True,
    callback=parse_tags_to_delete,
    help="A tag to remove; any number of them.",
)
@click.option("everything", "--all", is_flag=True, help="Remove all tags but the reserved ones.")
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    resources: tuple[str, ...],
    tags: dict[str, str | None],
    everything: bool,
) -> None:
    """Remove the tags."""
    if everything == bool(tags):
        raise click.UsageError("name tags with --tag, or remove all with --all; not both.")
    with invocation.open_store() as store:
        store.tags.delete(resources, None if everything else tags)
    invocation.answer(
        resources,
        lambda ids: {"ResourceIds": ids},
        lambda ids: volume_views.tagged_text(ids, "Removed tags from"),
    )
