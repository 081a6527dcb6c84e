"""`ebsim image list`."""

import click

from ebsim.cli import life_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import filter_option, paging_options
from ebsim.requests import Filter, ImageQuery


@click.command(
    "list",
    help="""List images, oldest first: all, those named, or those that match.

    A disabled image is shown only if it is named or asked for.""",
    epilog=examples(
        "ebsim image list",
        "ebsim image list --filter 'Name=name,Values=web-*' --include-disabled",
    ),
)
@click.argument("images", metavar="[AMI...]", nargs=-1)
@filter_option(
    "architecture, block-device-mapping.snapshot-id and the others of its kind, creation-date, "
    "description, image-id, name, owner-id, root-device-name, state, tag:KEY, tag-key"
)
@click.option("--include-disabled", is_flag=True, help="Also those that are disabled.")
@click.option("--exclude-deprecated", is_flag=True, help="Not those that are deprecated.")
@paging_options
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    images: tuple[str, ...],
    filters: tuple[Filter, ...],
    include_disabled: bool,
    exclude_deprecated: bool,
    max_items: int | None,
    starting_token: str | None,
) -> None:
    """Print the images."""
    query = ImageQuery(
        image_ids=images,
        filters=filters,
        include_disabled=include_disabled,
        include_deprecated=not exclude_deprecated,
        max_results=max_items,
        next_token=starting_token,
    )
    with invocation.open_store() as store:
        page = store.images.describe(query)
    invocation.answer(page, life_views.images_document, life_views.images_text)
