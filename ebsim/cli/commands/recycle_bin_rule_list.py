"""`ebsim recycle-bin rule list`."""

import click

from ebsim.cli import bin_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import parse_tag_pairs
from ebsim.recycle_bin import RuleLockState, RuleQuery, RuleResourceType, TagPair


@click.command(
    "list",
    help="""List the rules of the account in the Region, oldest first: all, or those that match.""",
    epilog=examples(
        "ebsim recycle-bin rule list", "ebsim recycle-bin rule list --resource-type EC2_IMAGE"
    ),
)
@click.option(
    "--resource-type",
    type=click.Choice([each.value for each in RuleResourceType]),
    help="Those that keep this.",
)
@click.option(
    "resource_tags",
    "--resource-tag",
    metavar="KEY=VALUE",
    multiple=True,
    callback=parse_tag_pairs,
    help="Those for this tag.",
)
@click.option(
    "--lock-state",
    type=click.Choice([each.value for each in RuleLockState]),
    help="Those in this state.",
)
@click.option("--max-items", type=int, metavar="N", help="At most so many.")
@click.option("--starting-token", metavar="TOKEN", help="Go on where the list ended.")
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    resource_type: str | None,
    resource_tags: tuple[TagPair, ...],
    lock_state: str | None,
    max_items: int | None,
    starting_token: str | None,
) -> None:
    """Print the rules."""
    query = RuleQuery(
        resource_type=None if resource_type is None else RuleResourceType(resource_type),
        resource_tags=resource_tags,
        lock_state=None if lock_state is None else RuleLockState(lock_state),
        max_results=max_items,
        next_token=starting_token,
    )
    with invocation.open_store() as store:
        page = store.recycle_bin.rules.list(query)
    invocation.answer(page, bin_views.rules_document, bin_views.rules_text)
