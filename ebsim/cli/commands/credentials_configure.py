"""`ebsim credentials configure`."""

from functools import partial

import click

from ebsim.cli import aws_profiles
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import endpoint_option, examples, shared_options
from ebsim.cli.server_extra import credentials_of, tell_new_store


@click.command(
    "configure",
    help="""Write a profile that has the aws CLI and the SDKs use the endpoint.

    It goes to the files of the aws CLI (~/.aws/config and ~/.aws/credentials, or where
    AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE say). A profile of that name that is there
    already is left as it is, and refused.""",
    epilog=examples(
        "ebsim credentials configure --profile ebsim",
        "aws --profile ebsim ec2 describe-snapshots --owner-ids self",
    ),
)
@click.option("--profile", default="ebsim", show_default=True, metavar="NAME", help="Its name.")
@endpoint_option
@shared_options
@click.pass_obj
def command(invocation: Invocation, *, profile: str, endpoint_url: str) -> None:
    """Write the profile."""
    told = partial(tell_new_store, invocation)
    with invocation.open_store(create=True, before_making=told) as store:
        credential = credentials_of(store).of_account(invocation.account)
    files = aws_profiles.profile_files()
    aws_profiles.add_profile(files, profile, credential, (invocation.region, endpoint_url))
    invocation.answer(
        profile,
        lambda name: {"Profile": name, "EndpointUrl": endpoint_url},
        lambda name: f"Wrote the profile {name}: aws --profile {name} ec2 describe-volumes",
    )
