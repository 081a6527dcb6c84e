"""The `ebsim` command: its groups, and the outermost edge where every exception ends.

Nothing heavy is imported here: numpy, rich, zstandard and the engine are loaded by the command that
needs them, so that `ebsim snapshot list` starts in about 0.1 s.
"""

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

import click

from ebsim.cli.background import Background
from ebsim.cli.environment import Environment, read_environment
from ebsim.cli.failures import EXIT_PIPE_CLOSED, describe_failure
from ebsim.cli.invocation import Invocation
from ebsim.cli.keys import KeyOptions, leave_no_core_dump
from ebsim.cli.lazy_group import LazyGroup
from ebsim.cli.options import examples, key_options, store_options
from ebsim.cli.output import flush_or_discard, prepare_streams, print_document, print_note
from ebsim.cli.signals import StoppedBySignal, ignore_interrupts, signals_as_exceptions
from ebsim.cli.stores import EngineStores, Stores

PROGRAM = "ebsim"


def _print_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"{PROGRAM} {version(PROGRAM)}")
        except PackageNotFoundError:  # run from a checkout
            click.echo(f"{PROGRAM} (run from a checkout)")
        context.exit()


def _remember_account(context: click.Context, _parameter: click.Parameter, value: str) -> None:
    if value is not None:
        context.ensure_object(Invocation).account = value


def _remember_region(context: click.Context, _parameter: click.Parameter, value: str) -> None:
    if value is not None:
        context.ensure_object(Invocation).region = value


@click.group(
    PROGRAM,
    cls=LazyGroup,
    lazy={
        name: f"ebsim.cli.commands.{name.replace('-', '_')}"
        for name in (
            "init",
            "snapshot",
            "volume",
            "image",
            "tag",
            "public-access",
            "key",
            "encryption-by-default",
            "fast-restore",
            "restore",
            "prune",
            "lifecycle",
            "recycle-bin",
            "events",
            "check",
            "repair",
            "rebuild",
            "compact",
            "stats",
            "dump",
            "serve",
            "credentials",
            "demo",
        )
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "ebsim snapshot create disk.img --description nightly",
        "ebsim snapshot list",
        "ebsim restore snap-0123456789abcdef0 restored.img",
    ),
)
@store_options
@click.option(
    "--account",
    metavar="ID",
    expose_value=False,
    callback=_remember_account,
    help="The account to act as, 12 digits; else $EBSIM_ACCOUNT, else 123456789012.",
)
@click.option(
    "--region",
    metavar="NAME",
    expose_value=False,
    callback=_remember_region,
    help="The Region to act in; else $EBSIM_REGION, else us-east-1.",
)
@key_options(hidden=False)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
def cli() -> None:
    """Incremental block snapshots of disk images and loop devices, as Amazon EBS keeps them.

    Each snapshot stores only the 512 KiB blocks that changed, restores alone to the whole image,
    and can be deleted without hurting the others.

    Two sizes are shown, always by name: charged is what EBS would charge for (blocks x 512 KiB,
    each version of a block once), stored is what the store occupies on disk.
    """


def main() -> NoReturn:
    """Run the command that the process was started with, and exit."""
    environment = read_environment()
    if not environment.debug:
        leave_no_core_dump()
    keys = KeyOptions.from_environment(environment)
    stores = EngineStores(trust_others=environment.trust_others, keys=keys)
    code = run(sys.argv[1:], environment, stores, keys=keys)
    ignore_interrupts()
    sys.exit(code)


def run(
    arguments: Sequence[str],
    environment: Environment,
    stores: Stores,
    background: Background | None = None,
    keys: KeyOptions | None = None,
) -> int:
    """Run one command.

    Args:
        arguments: The command line without the program's name.
        environment: What the environment says.
        stores: Where stores come from.
        background: Starts commands that nobody waits for; None: as processes.
        keys: What the environment says about the keyring, to which the options are added.

    Returns:
        The exit code (ebsim.cli.failures has the table). No exception leaves.
    """
    invocation = Invocation(environment, stores, background, keys)
    prepare_streams()
    with signals_as_exceptions():
        try:
            return _invoke(list(arguments), invocation)
        except (Exception, StoppedBySignal) as error:  # noqa: BLE001 - the outermost edge
            if environment.debug:
                _print_traceback()
            as_json = invocation.json or (
                isinstance(error, click.UsageError) and _asks_for_json(arguments)
            )
            return _report(error, as_json=as_json)
        finally:
            flush_or_discard()


def _invoke(arguments: list[str], invocation: Invocation) -> int:
    """Parse and run.

    Click's own `main` is not used: it answers a closed pipe and Ctrl-C in its own way.
    """
    try:
        with cli.make_context(PROGRAM, arguments, obj=invocation) as context:
            cli.invoke(context)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    return 0


def _asks_for_json(arguments: Sequence[str]) -> bool:
    """Say whether `--json` was given, for a command line that could not be parsed."""
    for argument in arguments:
        if argument == "--":
            return False
        if argument == "--json":
            return True
    return False


def _report(error: BaseException, *, as_json: bool) -> int:
    """Tell the user, as far as the streams can still be written to, and return the exit code."""
    if isinstance(error, BrokenPipeError):
        return EXIT_PIPE_CLOSED
    failure = describe_failure(error)
    if as_json:
        try:
            print_document(failure.document())
        except BrokenPipeError:
            return EXIT_PIPE_CLOSED
        except OSError:  # a full disk: standard error is what is left
            as_json = False
    if not as_json:
        with suppress(OSError):
            print_note(failure.line())
    return failure.exit_code


def _print_traceback() -> None:
    import traceback

    traceback.print_exc(file=sys.stderr)
