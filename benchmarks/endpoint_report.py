"""Benchmark 7 as Markdown and JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from statistics import median

from benchmarks.endpoint import (
    CONNECTIONS,
    MOTO_BLOCKS,
    ROUNDS,
    EndpointResults,
    Run,
    Task,
)
from benchmarks.endpoint_limits import Parts
from benchmarks.machine import Machine
from benchmarks.tables import markdown_table
from ebsim.units import BLOCK_SIZE, format_size

RATIO_WANTED = 5.0
DESCRIBES_WANTED = 4000.0
GET_WANTED = 1.0
PUT_WANTED = 0.4
CHANGED_WANTED_MS = 15.0
"""What is to be reached: ratios, a second, GB/s, milliseconds."""

_COMPARED = (Task.DESCRIBE, Task.GET, Task.PUT, Task.CHANGED)


def endpoint_markdown(results: EndpointResults, machine: Machine) -> str:
    """Return the tables."""
    about = (
        f"On {machine}; {' and '.join(results.versions)}.\n"
        f"Medians of {ROUNDS} rounds in which both servers take turns, each asked over "
        f"{CONNECTIONS} connections, ListChangedBlocks over one."
    )
    parts = [about, _targets(results), _rates(results), _limits(results.parts)]
    if results.skipped:
        parts.insert(1, f"moto is left out: {results.skipped}")
    return "\n\n".join(parts)


def endpoint_json(results: EndpointResults, machine: Machine) -> dict[str, object]:
    """Return the same for a program, with every single run."""
    return {"machine": asdict(machine), **asdict(results)}


def _targets(results: EndpointResults) -> str:
    """Return what was to be reached, ratios first."""
    own = results.runs["ebsim"]
    rows = []
    if "moto" in results.runs:
        for task in _COMPARED:
            moto = results.runs["moto"][task]
            ratio = _rate(own[task]) / _rate(moto)
            used = _micros(each.server_cpu / each.load.requests for each in moto) / _micros(
                each.server_cpu / each.load.requests for each in own[task]
            )
            found = f"{ratio:.1f} x ({used:.1f} x by processor time)"
            wanted = f"{RATIO_WANTED:.0f} x"
            rows.append(_row(f"{task}, beside moto", found, wanted, ratio >= RATIO_WANTED))
    describes, changed = _rate(own[Task.DESCRIBE]), _milliseconds(own[Task.CHANGED])
    put = _gigabytes(own[Task.PUT])
    rows.append(
        _row(Task.DESCRIBE, f"{describes:,.0f}/s", "4,000/s", describes >= DESCRIBES_WANTED)
    )
    for task in (Task.GET_NOISE, Task.GET):
        get = _gigabytes(own[task])
        rows.append(_row(task, f"{get:.2f} GB/s", "1 GB/s", get >= GET_WANTED))
    rows.append(_row(Task.PUT, f"{put:.2f} GB/s", "0.4 GB/s", put >= PUT_WANTED))
    rows.append(_row(Task.CHANGED, f"{changed:.1f} ms", "under 15 ms", changed < CHANGED_WANTED_MS))
    return markdown_table(["target", "found", "wanted", "reached"], rows)


def _row(name: str, found: str, wanted: str, reached: bool) -> list[str]:
    return [name, found, wanted, "yes" if reached else "**no**"]


def _rates(results: EndpointResults) -> str:
    header = [
        "",
        "requests a second",
        "GB/s",
        "median ms",
        "99 % within ms",
        "server: processor µs a request",
        "cores",
        "load: processor µs a request",
        "cores ",
    ]
    rows = []
    for name, runs in results.runs.items():
        for task, found in runs.items():
            moves = "Block" in task and task is not Task.CHANGED
            rows.append(
                [
                    f"{name}: {task}",
                    f"{_rate(found):,.0f}",
                    f"{_gigabytes(found):.2f}" if moves else "",
                    f"{_milliseconds(found):.1f}",
                    f"{median(each.load.slow_ms for each in found):.1f}",
                    f"{_micros(each.server_cpu / each.load.requests for each in found):,.0f}",
                    f"{median(each.server_cpu / each.load.seconds for each in found):.2f}",
                    f"{_micros(each.load.cpu_seconds / each.load.requests for each in found):,.0f}",
                    f"{median(each.load.cpu_seconds / each.load.seconds for each in found):.2f}",
                ]
            )
    memory = ", ".join(f"{name} {format_size(peak)}" for name, peak in results.peak_bytes.items())
    return (
        f"{markdown_table(header, rows)}\n\n"
        f"Peak memory: {memory}; moto keeps its blocks in memory, and has {MOTO_BLOCKS} a round."
    )


def _limits(parts: Parts) -> str:
    """Return what the machine could do."""
    columns = {
        "SHA-256": parts.sha256,
        "zstd -1": parts.compress,
        "zstd, back": parts.decompress,
        "BLAKE3": parts.block_hash,
        "write": parts.write,
        "send": parts.send,
        "receive": parts.receive,
    }
    table = markdown_table(
        ["on one core", *columns],
        [["GB/s", *(f"{BLOCK_SIZE / seconds / 1e9:.2f}" for seconds in columns.values())]],
    )
    return (
        f"{table}\n\n"
        f"What GetSnapshotBlock must do with a block of files takes {_cost(parts.get)},"
        f" with one of noise {_cost(parts.get_plain)}, and what PutSnapshotBlock must do"
        f" {_cost(parts.put)}."
    )


def _cost(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms of a core ({BLOCK_SIZE / seconds / 1e9:.2f} GB/s)"


def _rate(runs: Sequence[Run]) -> float:
    return median(each.load.requests / each.load.seconds for each in runs)


def _gigabytes(runs: Sequence[Run]) -> float:
    return _rate(runs) * BLOCK_SIZE / 1e9


def _milliseconds(runs: Sequence[Run]) -> float:
    return median(each.load.median_ms for each in runs)


def _micros(seconds: Iterable[float]) -> float:
    """Return the median in microseconds."""
    return median(seconds) * 1e6
