"""``bench weights``: what a weights file is, and bench's own from checkpoints of other code.

Its commands about shipped weights are in ``weights_shipped``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.common import Json, MethodOptions

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

    from bench.conversion import Conversion

app = typer.Typer(
    help="Look into weights, take over checkpoints of the official repositories, and ship weights with a method.",
    no_args_is_help=True,
)

_SHOWN = 12


@app.command("show")
def show(
    file: Annotated[Path, typer.Argument(help="Weights of bench, or a checkpoint of other code.")],
    json_output: Json = False,
) -> None:
    """Say what a file holds: method, options and origin, or which method can take it over.

    Nothing that a foreign file names is imported or run.

    Examples:

      bench weights show checkpoints/lead/weights.safetensors

      bench weights show ckpt_epoch_800_resnet50_celeba.pth --json
    """
    from rich.console import Console

    from bench.weights import describes_itself

    described = _own(file) if not file.is_file() or describes_itself(file) else _foreign(file)
    if json_output:
        print(json.dumps(described, indent=2, default=str))
        return
    console = Console()
    console.print(f"[bold]{file.name}[/bold]: {described.pop('is')}", highlight=False)
    matches = described.pop("can be taken over by", None)
    _print_lines(console, described)
    for match in matches or ():
        name = match.pop("method")
        console.print(f"\n[bold]{name}[/bold] can take it over", highlight=False)
        _print_lines(console, match)
        command = f"bench weights convert {file} --method {name} --output {file.stem}.safetensors"
        console.print(f"  [dim]{command}[/dim]", highlight=False, soft_wrap=True)
    if matches == []:
        console.print("  no method reads this layout")


@app.command("convert")
def convert(
    files: Annotated[list[Path], typer.Argument(help="One checkpoint, or several that make one network.")],
    method: Annotated[str, typer.Option("--method", "-m", help="See: bench list methods.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .safetensors file to write.")],
    method_options: MethodOptions = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output where it is there.")] = False,
    json_output: Json = False,
) -> None:
    """Write bench's weights from checkpoints of other code; every tensor has to find its place.

    Examples:

      bench weights convert checkpoint-epoch100.pth --method dve --output dve.safetensors

      bench weights convert ckpt_epoch_800_resnet50_celeba.pth 128d.pth -m contrast -o contrast-128d.safetensors
    """
    from rich.console import Console

    from bench.conversion import convert as convert_files
    from bench.errors import BenchError
    from bench.opening import load_method

    if output.suffix != ".safetensors":
        raise BenchError(f"weights are safetensors files, and the output is called {output.name}")
    if output.exists() and not force:
        raise BenchError(f"{output} is there already", hint="Give another --output, or --force.")
    conversion = convert_files(files, load_method(method), method_options or ())
    conversion.save(output)
    described = _conversion(conversion, output)
    if json_output:
        print(json.dumps(described, indent=2))
    else:
        _print_conversion(Console(), described)


def _own(file: Path) -> dict[str, Any]:
    from bench.weights import read_weights

    weights = read_weights(file)
    return {
        "is": "weights of bench",
        "method": weights.method,
        "origin": weights.label,
        **_size(weights.tensors),
        "options": weights.options,
        "provenance": weights.provenance,
        "sha256": weights.sha256,
    }


def _foreign(file: Path) -> dict[str, Any]:
    from bench import registry
    from bench.conversion import recognise, translate
    from bench.errors import BenchError
    from bench.foreign import read_foreign, tensors_of

    read = read_foreign(file)
    matches = []
    for name in registry.names("methods"):
        try:
            method = registry.load("methods", name)()
        except BenchError:  # another distribution's method that cannot be loaded
            continue
        if recognise(read, method) is None:
            continue
        part = translate(read, method)
        matches.append(
            {
                "method": name,
                "format": f"{part.format.name} ({part.format.summary})",
                "taken": _size(part.translation.tensors),
                "not used": part.translation.unused,
                "options": part.translation.options,
            }
        )
    return {
        "is": "checkpoint of other code",
        **_size(tensors_of(read.content)),
        "entries": {key: _kind(value) for key, value in read.content.items()},
        "named, not loaded": list(read.inert),
        "sha256": read.sha256,
        "can be taken over by": matches,
    }


def _size(tensors: dict[str, Tensor]) -> dict[str, int]:
    return {"tensors": len(tensors), "values": sum(tensor.numel() for tensor in tensors.values())}


def _kind(value: Any) -> str:
    from collections.abc import Mapping

    from torch import Tensor

    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"dict of {len(value)}"
    if isinstance(value, list | tuple):
        return f"list of {len(value)}"
    return repr(value)


def _conversion(conversion: Conversion, output: Path) -> dict[str, Any]:
    from bench.weights import read_weights

    return {
        "output": str(output),
        "sha256": read_weights(output).sha256,
        "method": conversion.method,
        "options": conversion.options.model_dump(mode="json"),
        "parameters": sum(parameter.numel() for parameter in conversion.network.parameters()),
        "files": [
            {
                "file": str(part.file.path),
                "sha256": part.file.sha256,
                "format": part.format.name,
                "taken": _size(part.translation.tensors),
                "not used": part.translation.unused,
                "named, not loaded": list(part.file.inert),
            }
            for part in conversion.parts
        ],
        "not read with these options": list(conversion.unread),
        "counters left at zero": list(conversion.counters),
    }


def _print_conversion(console: Console, described: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("file", "layout", "tensors taken", "not used, and why")
    for part in described["files"]:
        reasons = "\n".join(_by_reason(part["not used"])) or "none"
        table.add_row(
            *(escape(text) for text in (Path(part["file"]).name, part["format"])),
            str(part["taken"]["tensors"]),
            escape(reasons),
        )
    console.print(table)
    for key in ("not read with these options", "counters left at zero"):
        if described[key]:
            console.print(f"{key}: {_some(described[key])}", highlight=False)
    console.print(
        f"network of [bold]{described['method']}[/bold] filled: {described['parameters']:,} parameters, "
        f"options {escape(json.dumps(described['options']))}",
        highlight=False,
    )
    print(described["output"])


def _print_lines(console: Console, described: dict[str, Any]) -> None:
    """``key: value`` lines; a dict with one line for each of its items."""
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for key, value in described.items():
        lines = _by_reason(value) if key == "not used" else _lines(value)
        grid.add_row(escape(key), escape("\n".join(lines) or "none"))
    console.print(Padding(grid, (0, 0, 0, 2)))


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict) and value.keys() == {"tensors", "values"}:
        return [f"{value['tensors']:,} tensors with {value['values']:,} values"]
    if isinstance(value, dict):
        lines = [
            f"{key}: {item if isinstance(item, str) else json.dumps(item)}" for key, item in value.items()
        ]
        return lines if len(lines) <= _SHOWN else [*lines[:_SHOWN], f"and {len(lines) - _SHOWN} more"]
    if isinstance(value, list):
        return [str(item) for item in value]
    return [f"{value:,}" if isinstance(value, int) else str(value)]


def _by_reason(unused: dict[str, str]) -> list[str]:
    """One line a reason: some names may be many."""
    names: dict[str, list[str]] = {}
    for name, reason in unused.items():
        names.setdefault(reason, []).append(name)
    return [f"{_some(found)}: {reason}" for reason, found in names.items()]


def _some(names: list[str], count: int = 3) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
