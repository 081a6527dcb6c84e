"""The table of refusals: every row has a code of EC2's and names what was refused."""

import inspect
import pickle
from collections.abc import Callable, Collection

import pytest

from ebsim import refusals
from ebsim.errors import EbsimError, ErrorCode

ROWS = {
    name: function
    for name, function in vars(refusals).items()
    if inspect.isfunction(function) and function.__module__ == refusals.__name__
}

SAMPLES: dict[object, object] = {
    int: 7,
    float: 0.25,
    str: "vol-0123456789abcdef0",
    object: "strange",
    Collection[str]: ("available", "in-use"),
}


def sample(function: Callable[..., EbsimError]) -> EbsimError:
    """Return a refusal with an argument of the right type for each parameter."""
    types = inspect.get_annotations(function)
    return function(*(SAMPLES[kind] for name, kind in types.items() if name != "return"))


@pytest.mark.parametrize("name", ROWS)
def test_refusal_is_an_error_with_a_code_and_a_message(name: str) -> None:
    error = sample(ROWS[name])

    assert isinstance(error, EbsimError)
    assert isinstance(error.code, ErrorCode)
    assert error.code is not ErrorCode.INTERNAL_ERROR
    assert str(error)
    assert "\n" not in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("name", ROWS)
def test_refusal_names_what_it_is_about(name: str) -> None:
    parameters = inspect.get_annotations(ROWS[name])
    ids = [each for each in parameters if each.endswith("_id")]

    if ids:
        assert "vol-0123456789abcdef0" in str(sample(ROWS[name]))


WORDINGS = [
    (refusals.snapshot_not_found("snap-1"), "The snapshot 'snap-1' does not exist."),
    (refusals.volume_not_found("vol-1"), "The volume 'vol-1' does not exist."),
    (
        refusals.snapshot_in_use("snap-1", "ami-2"),
        "The snapshot snap-1 is currently in use by ami-2",
    ),
    (
        refusals.concurrent_snapshot_limit(),
        "Maximum allowed in-progress snapshots for a single volume exceeded.",
    ),
    (
        refusals.snapshot_rate("vol-1", 15),
        "The maximum per volume CreateSnapshot request rate has been exceeded.",
    ),
    (refusals.volume_in_use("vol-1", "i-2"), "Volume vol-1 is currently attached to i-2"),
    (
        refusals.missing_parameter("size/snapshot"),
        "The request must contain the parameter size/snapshot",
    ),
    (
        refusals.size_below_snapshot(15, "snap-1", 30),
        "Volume of size 15GB is smaller than snapshot 'snap-1', expect size >= 30GB",
    ),
]


@pytest.mark.parametrize(("error", "wording"), WORDINGS, ids=lambda each: str(each)[:30])
def test_wording_that_others_have_seen_is_kept(error: EbsimError, wording: str) -> None:
    """Programs that match on EC2's text find it at the beginning."""
    assert str(error).startswith(wording)
