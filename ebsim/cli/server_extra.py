"""Reaching the server's modules, which need the extra `ebsim[server]`."""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ebsim.cli.output import print_note
from ebsim.errors import ErrorCode, InvalidInputError

if TYPE_CHECKING:
    from ebsim.cli.invocation import Invocation
    from ebsim.engine import Store
    from ebsim.server.credentials import Credentials


def serving() -> Any:  # noqa: ANN401 - a module
    """Return the module that serves.

    Raises:
        InvalidInputError: The extra is not installed.
    """
    return _extra("ebsim.server.process")


def credentials_of(store: "Store") -> "Credentials":
    """Return the credentials of a store.

    Raises:
        InvalidInputError: The extra is not installed.
    """
    from ebsim.entropy import SystemEntropy
    from ebsim.storage.files import PosixFiles

    module = _extra("ebsim.server.credentials")
    found: Credentials = module.Credentials(store.path, PosixFiles(), SystemEntropy())
    return found


def tell_new_store(invocation: "Invocation") -> None:
    """Tell on standard error that a store is made: another one may have been meant."""
    print_note(f"making an empty store in {invocation.store_path}")


def _extra(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("ebsim"):
            raise
        raise InvalidInputError(
            f"The endpoint needs {error.name}, which is not installed: install ebsim "
            "with its extra 'server', in a clone by: pip install '.[server]'",
            ErrorCode.UNSUPPORTED_OPERATION,
        ) from None
