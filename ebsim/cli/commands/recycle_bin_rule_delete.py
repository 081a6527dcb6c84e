"""`ebsim recycle-bin rule delete`."""

import click

from ebsim.cli import bin_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "delete",
    help="""Delete a rule. What is in the Recycle Bin already stays as long as it was to stay.""",
    epilog=examples("ebsim recycle-bin rule delete 0123456789a"),
)
@click.argument("rule", metavar="RULE")
@shared_options
@click.pass_obj
def command(invocation: Invocation, rule: str) -> None:
    """Delete the rule."""
    with invocation.open_store() as store:
        store.recycle_bin.rules.delete(rule)
    invocation.answer(rule, bin_views.deleted_rule_document, lambda name: f"Deleted {name}.")
