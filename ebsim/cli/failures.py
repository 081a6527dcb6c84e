"""From an exception to what the user sees of it: the one table of exit codes.

- 0: done
- 1: refused or failed; also `check` with findings, and `compact` and `repair` if a record stays
  damaged
- 2: wrong usage
- 130: ended by SIGINT, 143 by SIGTERM, 129 by SIGHUP: 128 and the signal's number
- 141: the reader of the output went away
"""

import errno
import signal
from dataclasses import dataclass

import click

from ebsim.cli.output import Json, JsonValue, printable
from ebsim.cli.signals import StoppedBySignal
from ebsim.errors import (
    CorruptionError,
    EbsimError,
    ErrorCode,
    InternalError,
    OutcomeUnknownError,
    SnapshotFailedError,
)

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_PIPE_CLOSED = 128 + signal.SIGPIPE

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What ended a command.

    Attributes:
        exit_code: The exit code of the process.
        code: For programs.
        message: A sentence for people, one line.
        heading: What stands before the sentence: `error`, `internal error`, or nothing.
        reason: Of services that tell one beside the code; else empty.
        snapshot_id: The snapshot that was made nonetheless, in state `error` or still pending.
        outcome: For a commit that failed, one entry: whether the operation happened, None where
            that is not known.
    """

    exit_code: int
    code: ErrorCode
    message: str
    heading: str = "error"
    reason: str = ""
    snapshot_id: str | None = None
    outcome: tuple[bool | None, ...] = ()

    def line(self) -> str:
        """Return the line for standard error, without the program's name."""
        return f"{self.heading}: {self.message}" if self.heading else self.message

    def document(self) -> Json:
        """Return the JSON document for standard output."""
        error: dict[str, JsonValue] = {"Code": self.code.value, "Message": self.message}
        if self.reason:
            error["Reason"] = self.reason
        if self.snapshot_id is not None:
            error["SnapshotId"] = self.snapshot_id
        for happened in self.outcome:
            error["Happened"] = happened
        return {"Error": error}


def describe_failure(error: BaseException) -> Failure:
    """Return what the user is told about an exception, and the exit code."""
    match error:
        case StoppedBySignal():
            return _stopped(error)
        case click.ClickException():
            return _wrong_usage(error)
        case EbsimError() if not isinstance(error, InternalError):
            return _refused(error)
        case OSError():
            return _system_failed(error)
        case _:
            return _internal(error)


def _stopped(error: StoppedBySignal) -> Failure:
    return Failure(
        exit_code=128 + error.number,
        code=ErrorCode.INTERRUPTED,
        message=str(error),
        heading="",
        snapshot_id=error.pending[0] if len(error.pending) == 1 else None,
    )


def _wrong_usage(error: click.ClickException) -> Failure:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f" Try '{error.ctx.command_path} --help'."
    else:
        hint = ""
    message = error.format_message().rstrip()
    stop = "" if message.endswith((".", "?", "!", ")")) else "."
    return Failure(
        exit_code=EXIT_USAGE,
        code=ErrorCode.INVALID_PARAMETER_VALUE,
        message=_one_line(message + stop + hint),
    )


_REMEDIES = {
    ErrorCode.CORRUPT_BLOCK: "ebsim repair",
    ErrorCode.CORRUPT_SEGMENT: "ebsim repair",
    ErrorCode.CORRUPT_CATALOG: "ebsim rebuild",
}
"""What to type after damage was met."""


def _refused(error: EbsimError) -> Failure:
    remedy, hint = _REMEDIES.get(error.code), ""
    if isinstance(error, CorruptionError) and remedy is not None and remedy not in str(error):
        hint = f"; `{remedy} --dry-run` tells what can be healed"
    notes: list[str] = getattr(error, "__notes__", [])
    hint += "".join(f" ({note})" for note in notes)
    snapshot_id = error.snapshot_id if isinstance(error, SnapshotFailedError) else None
    return Failure(
        exit_code=EXIT_FAILED,
        code=error.code,
        message=_one_line(str(error) + hint),
        reason=error.reason,
        snapshot_id=snapshot_id,
        outcome=(error.happened,) if isinstance(error, OutcomeUnknownError) else (),
    )


def _system_failed(error: OSError) -> Failure:
    """Describe an error of the operating system that no layer below gave a meaning to."""
    reason = error.strerror or str(error) or type(error).__name__
    message = reason if error.filename is None else f"{error.filename}: {reason}"
    full = error.errno in _NO_SPACE
    return Failure(
        exit_code=EXIT_FAILED,
        code=ErrorCode.NO_SPACE if full else ErrorCode.STORE_FAILED,
        message=_one_line(message),
    )


def _internal(error: BaseException) -> Failure:
    code = error.code if isinstance(error, InternalError) else ErrorCode.INTERNAL_ERROR
    name = "" if isinstance(error, InternalError) else f"{type(error).__name__}: "
    return Failure(
        exit_code=EXIT_FAILED,
        code=code,
        message=_one_line(f"{name}{error}").rstrip(" .:") + "; please report this",
        heading="internal error",
    )


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))
