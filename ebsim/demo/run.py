"""The demo: the main job on real input, then the documented example."""

from pathlib import Path

from ebsim.demo.drawing import LEGEND, draw_state
from ebsim.demo.example import run_example
from ebsim.demo.image import require_tools
from ebsim.demo.nightly import Say, run_nightly
from ebsim.demo.report import DemoReport, ExampleState
from ebsim.progress import Progress


def run_demo(folder: Path, say: Say, progress: Progress) -> DemoReport:
    """Run the whole demo in an empty folder; it takes up to 2 GiB of disk.

    Args:
        folder: An empty folder. Images and stores are left there.
        say: Is told each step when it is done, as text for people.
        progress: Is told how far a longer step is.

    Raises:
        NotFoundError: e2fsprogs is not installed.
        EbsimError: A step failed, or a figure is not what it must be (DEMO_FAILED).
    """
    require_tools()
    (folder / "image").mkdir()
    image = run_nightly(folder / "image", say, progress)
    say("\n" + LEGEND)
    states: list[ExampleState] = []
    for number, state in enumerate(run_example(folder / "example", progress), start=1):
        say("\n" + draw_state(number, state))
        states.append(state)
    say("\nEvery figure above is the engine's own, and equals the documented one.")
    return DemoReport(image=image, example=tuple(states))
