"""The options of `ebsim serve` beside where it listens: limits, profiles, faults, what is told."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ebsim.cli.options import NamedPath

Command = TypeVar("Command", bound=Callable[..., object])
_CALLS = re.compile(r"([\w:]+)=(\d+)(?:-(\d+))?\Z", re.ASCII)
_MIB = 1024 * 1024

Throttle = tuple[str, int, int]
"""An operation, the first of its calls that is throttled, and how many are."""


class Calls(click.ParamType[Throttle]):
    """Calls of an operation: `CreateSnapshot=3`, or `PutSnapshotBlock=10-20`."""

    name = "OPERATION=N[-M]"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Throttle:
        """Return the calls; refuse what are none."""
        match = _CALLS.match(str(value))
        first = int(match[2]) if match else 0
        last = int(match[3] or first) if match else 0
        if match is None or not 1 <= first <= last:
            self.fail("say OPERATION=N or OPERATION=N-M, counted from 1", param, ctx)
        return match[1], first, last - first + 1


def profile_options(command: Command) -> Command:
    """Add the options of profiles and faults."""
    number = click.IntRange(min=1)
    for add in (
        click.option(
            "--hold-snapshot",
            multiple=True,
            type=number,
            metavar="N",
            help="Keep the N-th snapshot that is made pending until SIGUSR1 comes. May be given "
            "several times.",
        ),
        click.option(
            "--fail-snapshot",
            multiple=True,
            type=number,
            metavar="N",
            help="Let the N-th snapshot that is made end as error. May be given several times.",
        ),
        click.option(
            "--throttle",
            multiple=True,
            type=Calls(),
            metavar="OPERATION=N[-M]",
            help="Throttle the N-th call of an operation, or the N-th to the M-th, as AWS does. "
            "May be given several times.",
        ),
        click.option(
            "--start-delay",
            type=click.FloatRange(min=0),
            default=0,
            metavar="SECONDS",
            help="Let a snapshot be unknown for so long after StartSnapshot returned its id.",
        ),
        click.option(
            "--profile",
            type=click.Choice(["fast", "strict"]),
            default="fast",
            show_default=True,
            help="strict also has AWS's rates of requests, 15 seconds between two snapshots of a "
            "volume, and the quota of storage.",
        ),
    ):
        command = add(command)
    return command


def limit_options(command: Command) -> Command:
    """Add the options of what is taken at once, and of what is told."""
    for name, default, least, unit, what in (
        ("--grace", 30, 0, "SECONDS", "For how long what is under way may go on after a signal."),
        ("--max-head", 64, 8, "KIB", "The head of a request."),
        ("--max-body", 1, 1, "MIB", "The body of a request."),
        ("--max-held", 128, 1, "MIB", "All bodies that are held at once."),
        ("--max-requests", 16, 1, "N", "Requests carried out at once, but for blocks; more wait."),
        ("--max-connections", 1000, 1, "N", "Connections; more are ended at once."),
    ):
        command = click.option(
            name,
            type=click.IntRange(min=least),
            default=default,
            show_default=True,
            metavar=unit,
            help=what,
        )(command)
    command = click.option(
        "--metrics",
        type=click.Choice(["loopback", "any", "none"]),
        default="loopback",
        show_default=True,
        help="Who may read /metrics, for which nobody has to sign.",
    )(command)
    return click.option(
        "--access-log",
        type=NamedPath(path_type=Path),
        metavar="FILE",
        help="Add a line of JSON for each request to a file; - is standard error.",
    )(command)


def limits_of(chosen: dict[str, Any]) -> dict[str, Any]:
    """Return what the options of limits say, as the arguments of `Limits`, `http` apart."""
    return {
        "connections": chosen["max_connections"],
        "requests": chosen["max_requests"],
        "held_bytes": chosen["max_held"] * _MIB,
        "grace_s": chosen["grace"],
    }


def http_limits_of(chosen: dict[str, Any]) -> dict[str, Any]:
    """Return what they say of a client, as the arguments of `HttpLimits`."""
    return {"head_bytes": chosen["max_head"] * 1024, "body_bytes": chosen["max_body"] * _MIB}
