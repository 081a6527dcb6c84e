"""`ebsim dump`."""

import json

import click

from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.output import print_text, printable

LIMIT = 100
"""Entries that are shown unless more are asked for."""


@click.command(
    "dump",
    help="""Show what lies on disk, decoded.

    WHAT is one of store (an overview; the default), catalog (its tables; with NAME the entries of
    one), segment (their headers; with NAME, the beginning of an id, the records of one), page (of
    block maps; NAME is its number), journal, volume (files of managed volumes), and started (blocks
    put to snapshots that are not complete).

    The store is only read, and need not be whole: what does not decode is marked as damaged. Keys
    are never shown. With --json, each line is a JSON document.""",
    epilog=examples(
        "ebsim dump",
        "ebsim dump catalog SNAPSHOTS --limit 10",
        "ebsim dump segment 3f",
        "ebsim dump page 7",
        "ebsim dump journal --limit 0 --json",
    ),
)
@click.argument(
    "what",
    metavar="[WHAT]",
    type=click.Choice(["store", "catalog", "segment", "page", "journal", "volume", "started"]),
    default="store",
)
@click.argument("name", metavar="[NAME]", required=False)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=LIMIT,
    show_default=True,
    help="Show at most so many entries; 0 for all.",
)
@shared_options
@click.pass_obj
def command(invocation: Invocation, *, what: str, name: str | None, limit: int) -> None:
    """Print item by item."""
    from ebsim.core.dump import dump

    for item in dump(invocation.store_path, what, name, limit):
        if invocation.json:
            print_text(json.dumps(item))
        else:
            print_text(_line(item))


def _line(item: dict[str, object]) -> str:
    """Return an item as one line: what it is, then its members."""
    rest = [f"{name}={_shown(value)}" for name, value in item.items() if name != "Kind"]
    return printable(" ".join([str(item["Kind"]), *rest]))


def _shown(value: object) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value)
