"""How fast this machine can do the parts of each step (`benchmarks.parts`).

Run as `python -m benchmarks.limits IMAGE FOLDER`; prints JSON: seconds a block for each part, when
two threads do nothing else.
"""

import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import xxhash
import zstandard

from ebsim.format.block_hash import HASH_KEY_SIZE, hash_block
from ebsim.storage.buffers import block_buffer
from ebsim.units import BLOCK_SIZE

THREADS = 2
SAMPLES = 512
REPEATS = 5
"""The fastest counts: a limit is what the machine can do when nothing disturbs it."""

_KEY = bytes(HASH_KEY_SIZE)


def main(arguments: Sequence[str]) -> None:
    """Measure the parts with blocks of an image, and print them."""
    image, folder = arguments
    with (
        Path(image).open("rb", buffering=0) as source,
        (Path(folder) / "limits").open("w+b", buffering=0) as target,
    ):
        print(json.dumps(_measure(source.fileno(), target.fileno())))


def _measure(source: int, target: int) -> dict[str, float]:
    """Return seconds a block for each part.

    A part finds its block where the part before leaves it: in the buffer of its thread.
    """
    blocks, places = _sample(source)
    local = _Local()
    frames = [local.compressor.compress(block) for block in blocks]

    def decompress(at: int) -> None:
        with local.decompressor.stream_reader(frames[at], closefd=False) as reader:
            reader.readinto(local.buffer)

    parts: dict[str, Callable[[int], object]] = {
        "read": lambda at: os.preadv(source, [local.buffer], places[at] * BLOCK_SIZE),
        "hash": lambda _: hash_block(local.buffer, _KEY),
        "compress": lambda at: local.compressor.compress(blocks[at]),
        "check": lambda at: xxhash.xxh3_128_digest(frames[at]),
        "write stored": lambda at: os.pwrite(target, frames[at], at * BLOCK_SIZE),
        "read stored": lambda at: os.pread(target, len(frames[at]), at * BLOCK_SIZE),
        "decompress": decompress,
        "write": lambda at: os.pwrite(target, local.buffer, at * BLOCK_SIZE),
    }
    found: dict[str, float] = {}
    with ThreadPoolExecutor(THREADS) as threads:
        for name, part in parts.items():
            times = []
            for _ in range(REPEATS):
                if name.startswith("write"):
                    os.ftruncate(target, 0)
                times.append(_time(threads, part, len(blocks)))
            found[name] = min(times) / len(blocks)
    return found


def _sample(source: int) -> tuple[list[bytes], list[int]]:
    """Return some blocks that are not zeros, and where they lie."""
    size = os.fstat(source).st_size
    count = min(SAMPLES, size // BLOCK_SIZE)
    blocks: list[bytes] = []
    places: list[int] = []
    for place in sorted(random.Random(1).sample(range(size // BLOCK_SIZE), count)):
        block = os.pread(source, BLOCK_SIZE, place * BLOCK_SIZE)
        if block.count(0) < BLOCK_SIZE:
            blocks.append(block)
            places.append(place)
    return blocks, places


def _time(threads: ThreadPoolExecutor, part: Callable[[int], object], count: int) -> float:
    """Return the seconds in which all threads together do a part `count` times."""

    def share(first: int) -> None:
        for number in range(first, count, THREADS):
            part(number)

    begin = time.perf_counter()
    list(threads.map(share, range(THREADS)))
    return time.perf_counter() - begin


class _Local(threading.local):
    """What each thread keeps for itself."""

    def __init__(self) -> None:
        self.buffer = block_buffer()
        self.compressor = zstandard.ZstdCompressor(level=1)
        self.decompressor = zstandard.ZstdDecompressor()


if __name__ == "__main__":
    main(sys.argv[1:])
