"""What is told of the endpoint and its credentials."""

from collections.abc import Sequence
from shlex import join, quote
from typing import TYPE_CHECKING

from ebsim.caller import OWNER_DEFAULT, REGION_DEFAULT
from ebsim.cli.layout import table
from ebsim.cli.output import Json

if TYPE_CHECKING:
    from ebsim.cli.invocation import Invocation
    from ebsim.server.signatures import Credential

PROFILE_DEFAULT = "ebsim"


def environment_text(credential: "Credential", region: str, url: str) -> str:
    """Return the lines that have a shell use the endpoint, for `eval`."""
    values = {
        "AWS_ACCESS_KEY_ID": credential.access_key,
        "AWS_SECRET_ACCESS_KEY": credential.secret,
        "AWS_SESSION_TOKEN": credential.session_token,
        "AWS_REGION": region,  # some SDKs look at one, some at the other
        "AWS_DEFAULT_REGION": region,
        "AWS_ENDPOINT_URL": url,
        "AWS_PROFILE": "",  # some SDKs prefer it to keys
    }
    lines = [f"export {name}={quote(value)}" for name, value in values.items() if value]
    unset = [f"unset {name}" for name, value in values.items() if not value]
    return "\n".join([*lines, *unset])


def how_to_use(invocation: "Invocation", url: str, *, signed: bool) -> str:
    """Return what a user types in another shell, where nothing is set, to use an endpoint."""
    if not signed:
        values = {
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": invocation.region,
            "AWS_DEFAULT_REGION": invocation.region,
            "AWS_ACCESS_KEY_ID": invocation.account,  # twelve digits name one
            "AWS_SECRET_ACCESS_KEY": "any",
        }
        return "export " + " ".join(f"{name}={quote(value)}" for name, value in values.items())
    acting = ["--store", str(invocation.store_path.absolute())]
    if invocation.account != OWNER_DEFAULT:
        acting += ["--account", invocation.account]
    if invocation.region != REGION_DEFAULT:
        acting += ["--region", invocation.region]
    return f'eval "$(ebsim {join(acting)} credentials env --endpoint-url {url})"'


def credential_document(credential: "Credential") -> Json:
    """Return the document of a credential that was just made, secret included."""
    return {
        "AccessKeyId": credential.access_key,
        "SecretAccessKey": credential.secret,
        "Account": credential.account,
    }


def list_document(credentials: Sequence["Credential"]) -> Json:
    """Return the document of `credentials list`; secrets are not in it."""
    return {
        "Credentials": [
            {"AccessKeyId": each.access_key, "Account": each.account} for each in credentials
        ]
    }


def list_text(credentials: Sequence["Credential"]) -> str:
    """Return the table of `credentials list`."""
    if not credentials:
        return "No credentials; `ebsim credentials env` makes some."
    rows = [(each.access_key, each.account) for each in credentials]
    return table([("ACCESS KEY", "ACCOUNT"), *rows], right=set())


def made_text(credential: "Credential") -> str:
    """Return the text of `credentials create`."""
    return (
        f"Access key   {credential.access_key}\nSecret key   {credential.secret}\n"
        f"Account      {credential.account}"
    )
