"""`ebsim serve`."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from ebsim.cli import server_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import NamedPath, examples, shared_options
from ebsim.cli.output import print_document, print_note, print_text
from ebsim.cli.serve_options import http_limits_of, limit_options, limits_of, profile_options


@click.command(
    "serve",
    help="""Serve the store over HTTP, as AWS does, for boto3, the aws CLI and the SDKs.

    Requests must be signed with a key of 'ebsim credentials'; the first start makes one. What is
    served so far is listed in docs/aws-api.md. The process goes on until it is stopped: SIGINT or
    SIGTERM lets it finish what is under way, a second one ends it at once.""",
    epilog=examples(
        "ebsim serve",
        "ebsim serve --port 0",
        "ebsim serve --no-auth",
        "ebsim serve --profile strict --access-log access.jsonl",
        "ebsim serve --throttle CreateSnapshot=2 --fail-snapshot 1",
    ),
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=4747,
    show_default=True,
    help="The port; 0 picks a free one.",
)
@click.option(
    "--no-auth",
    is_flag=True,
    help="Take requests that nobody signed: whoever reaches the port may do anything. Only on "
    "loopback.",
)
@click.option(
    "--tls-cert", type=NamedPath(path_type=Path), metavar="FILE", help="A certificate, in PEM."
)
@click.option(
    "--tls-key", type=NamedPath(path_type=Path), metavar="FILE", help="Its private key, in PEM."
)
@profile_options
@limit_options
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    /,
    *,
    host: str,
    port: int,
    no_auth: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
    **chosen: Any,  # noqa: ANN401 - click's values
) -> None:
    """Serve until the process is stopped."""
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together.")
    from ebsim.cli.server_extra import credentials_of, serving, tell_new_store

    process = serving()
    limits, fewer = process.limits_here(limits_of(chosen), http_limits_of(chosen))
    if fewer:
        print_note(f"{fewer}: raise the limit of open files (ulimit -n)")
    options = process.ServeOptions(
        host=host,
        port=port,
        authenticate=not no_auth,
        certificate=tls_cert,
        key=tls_key,
        limits=limits,
        profile=process.Profile(chosen["profile"]),
        throttle=chosen["throttle"],
        start_delay_s=chosen["start_delay"],
        access_log=chosen["access_log"],
        metrics_for=process.MetricsFor(chosen["metrics"]),
    )
    faults = process.snapshot_faults(chosen["fail_snapshot"], chosen["hold_snapshot"])

    def ready(url: str) -> None:
        if invocation.json:
            print_document({"Endpoint": url})
            return
        print_text(f"endpoint: {url}")
        if no_auth:
            print_text("NOT AUTHENTICATED: whoever reaches this port may do anything.")
        print_text(f"use it:   {server_views.how_to_use(invocation, url, signed=not no_auth)}")

    def waiting(seconds: float) -> None:
        print_note(
            f"stopping: waiting at most {seconds:.0f} s for snapshots and copies that are under "
            "way; a second signal ends it at once"
        )

    told = partial(tell_new_store, invocation)
    with invocation.open_store(create=True, resume=True, before_making=told) as store:
        credentials = credentials_of(store)
        if not no_auth:
            credentials.of_account(invocation.account)
        left = process.serve(store, credentials, options, ready, faults, waiting)
    if left:
        print_note(f"stopped: {', '.join(left)} pending still: the next process goes on with it")
