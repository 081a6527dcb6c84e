"""`ebsim recycle-bin rule lock`."""

import click

from ebsim.cli import bin_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "lock",
    help="""Lock a rule: it can be neither changed nor deleted.

    Only a rule for all, without tags that it excludes, can be locked. Once it is unlocked it can be
    changed when the unlock delay is over.""",
    epilog=examples("ebsim recycle-bin rule lock 0123456789a --unlock-delay 7"),
)
@click.argument("rule", metavar="RULE")
@click.option("--unlock-delay", type=int, required=True, metavar="DAYS", help="7 to 30.")
@shared_options
@click.pass_obj
def command(invocation: Invocation, rule: str, unlock_delay: int) -> None:
    """Lock the rule and show it."""
    with invocation.open_store() as store:
        shown = store.recycle_bin.rules.lock(rule, unlock_delay)
    invocation.answer(shown, bin_views.rule_document, bin_views.rule_text)
