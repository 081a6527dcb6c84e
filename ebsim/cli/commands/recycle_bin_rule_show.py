"""`ebsim recycle-bin rule show`."""

import click

from ebsim.cli import bin_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "show",
    help="""Show a rule.""",
    epilog=examples("ebsim recycle-bin rule show 0123456789a"),
)
@click.argument("rule", metavar="RULE")
@shared_options
@click.pass_obj
def command(invocation: Invocation, rule: str) -> None:
    """Print the rule."""
    with invocation.open_store() as store:
        shown = store.recycle_bin.rules.get(rule)
    invocation.answer(shown, bin_views.rule_document, bin_views.rule_text)
