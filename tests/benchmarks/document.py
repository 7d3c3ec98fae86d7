"""Writes the page on speed from what the benchmarks measured; its numbers are never typed by hand.

pytest tests/benchmarks --benchmark-enable --benchmark-json=bench.json
python -m tests.benchmarks.cost_model > cost_model.json
python -m tests.benchmarks.document bench.json cost_model.json > docs/performance.md
"""

from __future__ import annotations

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

from tabulate import tabulate

_INTRODUCTION = """\
# Speed and memory

Made by `python -m tests.benchmarks.document` from measurements; not edited by hand. Measure again on an otherwise idle
machine:

```
pytest tests/benchmarks --benchmark-enable --benchmark-json=bench.json
python -m tests.benchmarks.cost_model > cost_model.json
python -m tests.benchmarks.document bench.json cost_model.json > docs/performance.md
```

Every exact short cut stands beside the straightforward way to the same numbers, which lives in the tests. Both ran in
turn in one process, on one thread, in single precision, with freed memory kept (the straightforward way, which
allocates more, gains by that); times are medians. Memory is what one call adds to that of its inputs, in a fresh
process. "Of the limit" is the rate of floating-point operations, or of bytes, over that of a large matrix product, or a
large copy, measured in the same minute. What differs between the two ways is rounding; how much, stands in the last
column.
"""
_SECONDS = ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"), (1e-12, "ps"))
_BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
_COSTS = """\
## How costs grow

Each protocol in its `quick` preset on a `lead` network (ResNet-18 of width 32 with its pyramid, one cell for 4 x 4
pixels; `discovered`: Thewlis' network, whose landmarks take the place of dimensions), at three sizes along each of four
axes: {axes}. The model is a sum of terms, each a unit cost times a count of work that follows from the sizes
(`tests/benchmarks/cost_model.py` has the counts). The unit costs are fitted to these runs, and the last column says how
far the worst of the {runs} predictions is off; a term that costs nothing measurable is left out. `scale` costs what
`regression` does, and cutting its images. `flops` and `memory` read no images: they cost a pass through the network for
each resolution.
"""


def main() -> None:
    measured = json.loads(Path(sys.argv[1]).read_text())
    pairs = [
        (one["extra_info"]["pair"], one["fullname"])
        for one in measured["benchmarks"]
        if "pair" in one["extra_info"]
    ]
    machine = measured["machine_info"]
    print(_INTRODUCTION)
    print(f"Measured on {machine['cpu']['brand_raw']}, Python {machine['python_version']}.\n")
    by_topic = sorted(pairs, key=lambda pair: pair[0]["claim"]["topic"])
    for topic, found in groupby(by_topic, key=lambda pair: pair[0]["claim"]["topic"]):
        print(f"## {topic}\n")
        print(
            tabulate([row(pair) for pair, _ in found], headers="keys", tablefmt="pipe", disable_numparse=True)
        )
        print()
    if len(sys.argv) > 2:
        print(costs(json.loads(Path(sys.argv[2]).read_text())))


def row(pair: dict[str, Any]) -> dict[str, str]:
    claim, seconds, memory = pair["claim"], pair["seconds"], pair["megabytes"]
    goal = f" (at least {claim['ratio']:g})" if claim["ratio"] else ""
    most = f" (at most {claim['megabytes']:g})" if claim["megabytes"] else ""
    return {
        "what": claim["case"],
        "straightforward": claim["twin"],
        "ms": f"{duration(seconds['twin'])}",
        "ours, ms": f"{duration(seconds['ours'])}",
        "ratio": f"{pair['ratio']:.1f}{goal}",
        "MB": f"{memory['twin']:.0f}" if "twin" in memory else "",
        "ours, MB": f"{memory['ours']:.0f}{most}",
        "of the limit": share_of_limit(pair),
        "differs by": ", ".join(f"{name} {size:.1g}" for name, size in pair["deviations"].items()),
    }


def share_of_limit(pair: dict[str, Any]) -> str:
    claim, seconds = pair["claim"], pair["seconds"]["ours"] * pair["claim"]["per"]
    if claim["gflop"]:
        return (
            f"{claim['gflop'] / seconds / pair['matrix_gflops']:.0%} of {pair['matrix_gflops']:.0f} GFLOP/s"
        )
    if claim["gigabytes"]:
        return f"{claim['gigabytes'] / seconds / pair['copy_gbs']:.0%} of {pair['copy_gbs']:.0f} GB/s"
    return ""


def duration(seconds: float) -> str:
    return f"{1000 * seconds:.3g}" if seconds < 1 else f"{1000 * seconds:.0f}"


def costs(models: dict[str, Any]) -> str:
    sizes = next(iter(models.values()))["sizes"]
    axes = {axis: sorted({one[axis] for one in sizes}) for axis in sizes[0]}
    words = ", ".join(f"{axis} {' / '.join(map(str, values))}" for axis, values in axes.items())
    rows = [
        {
            "protocol": protocol,
            "of what": "time" if of == "seconds" else "memory",
            "at the base": reading(of, found[of]["measured"][base_index(sizes)]),
            "model": " + ".join(
                unit_cost(of, cost) + ("" if name == "always" else f" x {name}")
                for name, cost in found[of]["units"].items()
                if cost > 0
            ),
            "largest error": f"{worst(found[of]):.0%}",
        }
        for protocol, found in models.items()
        for of in ("seconds", "bytes")
    ]
    table = tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True)
    return f"{_COSTS.format(axes=words, runs=len(sizes))}\n{table}\n"


def base_index(sizes: list[dict[str, int]]) -> int:
    """The first: the size from which each axis is varied shares most values with the others."""
    return max(
        range(len(sizes)), key=lambda i: sum(sizes[i][a] == other[a] for other in sizes for a in other)
    )


def reading(of: str, value: float) -> str:
    return f"{value:.2g} s" if of == "seconds" else f"{value / 1e6:.0f} MB"


def unit_cost(of: str, cost: float) -> str:
    """Two digits and the largest unit that leaves at least one before the point."""
    units = _SECONDS if of == "seconds" else _BYTES
    size, name = next((pair for pair in units if cost >= pair[0]), units[-1])
    return f"{float(f'{cost / size:.2g}'):g} {name}"


def worst(found: dict[str, list[float]]) -> float:
    pairs = zip(found["measured"], found["predicted"], strict=True)
    return max(abs(predicted / measured - 1) for measured, predicted in pairs)


if __name__ == "__main__":
    main()
