"""Random block reads: one block of a snapshot after the other, in one thread.

Run as `python -m benchmarks.random_reads STORE SNAPSHOT IMAGE SECONDS`; prints JSON. Beside it, the
same blocks are read from the raw image.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ebsim import Store
from ebsim.units import BLOCK_SIZE


def main(arguments: Sequence[str]) -> None:
    """Measure both and print reads a second."""
    store_path, snapshot_id, image, seconds = arguments
    with Store.open(store_path) as store, Path(image).open("rb", buffering=0) as file:
        blocks = store.get_snapshot(snapshot_id).size_bytes // BLOCK_SIZE
        results = {
            "ebsim": _rate(lambda at: store.read_block(snapshot_id, at), blocks, float(seconds)),
            "image": _rate(
                lambda at: os.pread(file.fileno(), BLOCK_SIZE, at * BLOCK_SIZE),
                blocks,
                float(seconds),
            ),
        }
    print(json.dumps(results))


def _rate(read: Callable[[int], bytes], blocks: int, seconds: float) -> float:
    """Return how many random reads a second are done."""
    chooser = random.Random(1)
    read(0)
    begin, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - begin) < seconds:
        assert len(read(chooser.randrange(blocks))) == BLOCK_SIZE
        count += 1
    return count / passed


if __name__ == "__main__":
    main(sys.argv[1:])
