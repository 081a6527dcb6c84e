"""`ebsim recycle-bin rule update`."""

import click

from ebsim.cli import bin_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import parse_tag_pairs
from ebsim.recycle_bin import RuleUpdate, TagPair


@click.command(
    "update",
    help="""Change a rule, for what is deleted from now on. What is not given stays.

    Its type stays, and whether it is for some tags or for all; tags that are given replace those
    that it has.""",
    epilog=examples(
        "ebsim recycle-bin rule update 0123456789a --days 30",
        "ebsim recycle-bin rule update 0123456789a --exclude-tag tmp=yes",
    ),
)
@click.argument("rule", metavar="RULE")
@click.option("--days", type=int, metavar="N", help="For how long.")
@click.option("--description", metavar="TEXT", help="At most 255 characters.")
@click.option(
    "resource_tags",
    "--resource-tag",
    metavar="KEY=VALUE",
    multiple=True,
    callback=parse_tag_pairs,
    help="Of a rule for some tags: those it is for.",
)
@click.option(
    "exclude_tags",
    "--exclude-tag",
    metavar="KEY=VALUE",
    multiple=True,
    callback=parse_tag_pairs,
    help="Of a rule for all: what it does not keep.",
)
@click.option("--no-exclude-tags", is_flag=True, help="Of a rule for all: it keeps everything.")
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    rule: str,
    days: int | None,
    description: str | None,
    resource_tags: tuple[TagPair, ...],
    exclude_tags: tuple[TagPair, ...],
    no_exclude_tags: bool,
) -> None:
    """Change the rule and show it."""
    if exclude_tags and no_exclude_tags:
        context = click.get_current_context()
        raise click.UsageError("Give --exclude-tag or --no-exclude-tags, not both.", context)
    update = RuleUpdate(
        retention_days=days,
        description=description,
        resource_tags=resource_tags or None,
        exclude_tags=() if no_exclude_tags else exclude_tags or None,
    )
    with invocation.open_store() as store:
        shown = store.recycle_bin.rules.update(rule, update)
    invocation.answer(shown, bin_views.rule_document, bin_views.rule_text)
