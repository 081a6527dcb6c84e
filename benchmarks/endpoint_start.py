"""How long the endpoint of the pytest fixtures takes to start: the first of a process, and others.

Run as `python -m benchmarks.endpoint_start`; prints JSON, medians in milliseconds. boto3, which a
test that needs the endpoint has imported, is imported before; the processor time is told beside,
for machines that do other things meanwhile.
"""

import json
import subprocess
import sys
import time
from statistics import median

PROCESSES = 5
STARTS = 10


def one_process() -> list[tuple[float, float]]:
    """Return the time and the processor time of each start in this process, in seconds."""
    import boto3  # noqa: F401 - so that its time is not counted

    found = []
    for _ in range(STARTS):
        wall, cpu = time.perf_counter(), time.process_time()
        from ebsim.testing.aws import running_endpoint
        from ebsim.testing.harness import Harness

        with Harness() as harness, running_endpoint(harness.store, harness.faults):
            found.append((time.perf_counter() - wall, time.process_time() - cpu))
    return found


def main() -> None:
    """Measure in several processes, and print."""
    if sys.argv[1:] == ["--one"]:
        print(json.dumps(one_process()))
        return
    command = [sys.executable, "-m", "benchmarks.endpoint_start", "--one"]
    runs = [
        json.loads(subprocess.check_output(command, text=True))  # our own program
        for _ in range(PROCESSES)
    ]
    firsts, laters = [run[0] for run in runs], [each for run in runs for each in run[1:]]
    document = {
        name: {
            "WallMs": round(median(wall for wall, _ in times) * 1000, 1),
            "ProcessorMs": round(median(cpu for _, cpu in times) * 1000, 1),
        }
        for name, times in (("First", firsts), ("Later", laters))
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
