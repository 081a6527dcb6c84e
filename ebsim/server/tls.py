"""The certificate of an endpoint, and its key."""

import os
import ssl
import stat
from pathlib import Path
from typing import NoReturn

from ebsim.errors import ErrorCode, InvalidInputError

_EXPOSED = stat.S_IRWXO | stat.S_IWGRP


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return what serves TLS with a certificate.

    Args:
        certificate: The certificate and those between it and its root, in PEM.
        key: Its private key, in PEM, without a passphrase.

    Raises:
        InvalidInputError: A file is not there, or not what it should be; the key is another
            certificate's, or everybody can read it.
    """
    _ensure_private(key)
    if not certificate.exists():
        _refuse(f"there is no certificate at {certificate}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=lambda: _locked(key))
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            _refuse(f"{key} is not the key of the certificate in {certificate}")
        why = f" ({error.reason})" if error.reason else ""
        _refuse(
            f"{certificate} and {key} do not hold a certificate and its private key in PEM{why}"
        )
    except OSError as error:
        _refuse(f"{certificate} or {key} cannot be read: {error.strerror}")
    return context


def _ensure_private(key: Path) -> None:
    try:
        mode = os.stat(key).st_mode
    except OSError as error:
        _refuse(f"the key {key} cannot be read: {error.strerror}")
    if mode & _EXPOSED:
        _refuse(
            f"{key} has mode {stat.S_IMODE(mode):04o}: others could read or change a private key. "
            f"Take that from them: chmod 600 {key}"
        )


def _locked(key: Path) -> NoReturn:
    _refuse(f"{key} has a passphrase, for which nobody is asked: give a key without one")


def _refuse(what: str) -> NoReturn:
    raise InvalidInputError(
        f"TLS cannot be served: {what}.", ErrorCode.INVALID_PARAMETER_VALUE
    ) from None
