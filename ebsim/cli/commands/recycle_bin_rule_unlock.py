"""`ebsim recycle-bin rule unlock`."""

import click

from ebsim.cli import bin_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "unlock",
    help="""Unlock a rule: it can be changed and deleted when its unlock delay is over.""",
    epilog=examples("ebsim recycle-bin rule unlock 0123456789a"),
)
@click.argument("rule", metavar="RULE")
@shared_options
@click.pass_obj
def command(invocation: Invocation, rule: str) -> None:
    """Unlock the rule and show it."""
    with invocation.open_store() as store:
        shown = store.recycle_bin.rules.unlock(rule)
    invocation.answer(shown, bin_views.rule_document, bin_views.rule_text)
