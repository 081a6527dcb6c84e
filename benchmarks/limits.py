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
    size = os.fstat(source).st_size
    blocks: list[bytes] = []
    places: list[int] = []
    for place in sorted(random.Random(1).sample(range(size // BLOCK_SIZE), _samples(size))):
        block = os.pread(source, BLOCK_SIZE, place * BLOCK_SIZE)
        if block.count(0) < BLOCK_SIZE:
            blocks.append(block)
            places.append(place)
    local = _Local()
    frames = [local.compressor.compress(block) for block in blocks]

    def stored(number: int) -> bytes:
        return os.pread(target, len(frames[number]), number * BLOCK_SIZE)

    parts: dict[str, Callable[[int], object]] = {
        "read": lambda at: os.preadv(source, [local.buffer], places[at] * BLOCK_SIZE),
        "hash": lambda at: hash_block(blocks[at], _KEY),
        "compress": lambda at: local.compressor.compress(blocks[at]),
        "check": lambda at: xxhash.xxh3_128_digest(frames[at]),
        "write stored": lambda at: os.pwrite(target, frames[at], at * BLOCK_SIZE),
        "read stored": stored,
        "decompress": lambda at: local.decompressor.decompress(frames[at], BLOCK_SIZE),
        "write": lambda at: os.pwrite(target, blocks[at], at * BLOCK_SIZE),
    }
    found: dict[str, float] = {}
    with ThreadPoolExecutor(THREADS) as threads:
        for name, part in parts.items():
            times = []
            for _ in range(REPEATS):
                if name.startswith("write"):
                    os.ftruncate(target, 0)
                begin = time.perf_counter()
                list(threads.map(part, range(len(blocks))))
                times.append(time.perf_counter() - begin)
            found[name] = min(times) / len(blocks)
    return found


def _samples(size: int) -> int:
    return min(SAMPLES, size // BLOCK_SIZE)


class _Local(threading.local):
    """What each thread keeps for itself."""

    def __init__(self) -> None:
        self.buffer = bytearray(BLOCK_SIZE)
        self.compressor = zstandard.ZstdCompressor(level=1)
        self.decompressor = zstandard.ZstdDecompressor()


if __name__ == "__main__":
    main(sys.argv[1:])
