"""`ebsim recycle-bin rule create`."""

import click

from ebsim.cli import bin_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import parse_tag_pairs, tag_option
from ebsim.recycle_bin import RuleRequest, RuleResourceType, TagPair


@click.command(
    "create",
    help="""Make a rule, for what is deleted from now on.

    With --resource-tag it keeps what has one of these tags; without, everything of its type in the
    Region, but for what has one of the tags of --exclude-tag.""",
    epilog=examples(
        "ebsim recycle-bin rule create --resource-type EBS_SNAPSHOT --days 14",
        "ebsim recycle-bin rule create --resource-type EBS_SNAPSHOT --days 90 \\",
        "    --resource-tag team=db",
        "ebsim recycle-bin rule create --resource-type EC2_IMAGE --days 30 --unlock-delay 7",
    ),
)
@click.option(
    "--resource-type",
    type=click.Choice([each.value for each in RuleResourceType]),
    required=True,
    help="What it keeps.",
)
@click.option(
    "--days",
    type=int,
    required=True,
    metavar="N",
    help="For how long: 1 to 365 days; volumes 1 to 7.",
)
@click.option(
    "resource_tags",
    "--resource-tag",
    metavar="KEY=VALUE",
    multiple=True,
    callback=parse_tag_pairs,
    help="Only what has this tag; may be given up to 50 times, one of them is enough.",
)
@click.option(
    "exclude_tags",
    "--exclude-tag",
    metavar="KEY=VALUE",
    multiple=True,
    callback=parse_tag_pairs,
    help="Not what has this tag; may be given up to 5 times.",
)
@click.option("--description", default="", metavar="TEXT", help="At most 255 characters.")
@tag_option("A tag of the rule's own; may be given up to 50 times.")
@click.option(
    "--unlock-delay",
    type=int,
    metavar="DAYS",
    help="Lock it at once; it can be changed so many days after it is unlocked, 7 to 30.",
)
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    resource_type: str,
    days: int,
    resource_tags: tuple[TagPair, ...],
    exclude_tags: tuple[TagPair, ...],
    description: str,
    tags: dict[str, str],
    unlock_delay: int | None,
) -> None:
    """Make the rule and show it."""
    request = RuleRequest(
        resource_type=RuleResourceType(resource_type),
        retention_days=days,
        resource_tags=resource_tags,
        exclude_tags=exclude_tags,
        description=description,
        tags=tags,
        unlock_delay_days=unlock_delay,
    )
    with invocation.open_store() as store:
        made = store.recycle_bin.rules.create(request)
    invocation.answer(made, bin_views.rule_document, bin_views.rule_text)
