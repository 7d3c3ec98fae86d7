"""``bench run``: measure one method under one protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from bench.cli.common import (
    Dataset,
    DatasetOptions,
    Device,
    Json,
    MethodOptions,
    Quiet,
    Runs,
    Seed,
    Workers,
    continuable,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from bench.record import FeatureType, MetricPart, RunRecord
    from bench.runner import RunResult
    from bench.store import RunStore


def run(
    method: Annotated[str, typer.Option("--method", "-m", help="See: bench list methods.")],
    protocol: Annotated[str, typer.Option("--protocol", "-p", help="See: bench list protocols.")],
    dataset: Dataset = "synthetic-faces",
    dataset_options: DatasetOptions = None,
    preset: Annotated[str, typer.Option(help="quick, or paper for the paper's epochs and draws.")] = "quick",
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", "-c", help="Weights of bench pretrain, or an official checkpoint."),
    ] = None,
    like: Annotated[
        Path | None, typer.Option(help="Build the network of this weights file, untrained (method random).")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Shipped weights of this preset, where a method ships several: bench weights shipped."
        ),
    ] = None,
    method_options: MethodOptions = None,
    protocol_options: Annotated[
        list[str] | None,
        typer.Option("-P", metavar="KEY=VALUE", help="Option of the protocol, e.g. draws=5."),
    ] = None,
    train_split: Annotated[str | None, typer.Option(help="Instead of the data set's own choice.")] = None,
    test_split: Annotated[str | None, typer.Option(help="Instead of the data set's own choice.")] = None,
    validation_split: Annotated[
        str | None, typer.Option(help="Instead of the data set's own choice, where the protocol reads one.")
    ] = None,
    preprocessing: Annotated[
        str,
        typer.Option(help="square-96, dve-70, contrast-96 or contrast-128: sizes and crop of the papers."),
    ] = "square-96",
    image_size: Annotated[
        int | None,
        typer.Option(help="Side of the method's input, in pixels, instead of the preprocessing's."),
    ] = None,
    margin: Annotated[
        int | None,
        typer.Option(
            help="Border that images are resized with and that is cut off again, instead of the preprocessing's."
        ),
    ] = None,
    runs: Runs = Path("runs"),
    seed: Seed = 0,
    device: Device = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once; does not change a result.")] = 64,
    workers: Workers = 0,
    feature_dtype: Annotated[
        str,
        typer.Option(
            help="float32, or float16: frozen features are rounded to 11 bits and take half the room on disk. The "
            "record says so. Measured for LEAD on real faces: NME changes by 0.03 of 9.1 % at most (by 0.16 with the "
            "seed), matching errors by 0.02 of 8.7 pixels."
        ),
    ] = "float32",
    force: Annotated[bool, typer.Option("--force", help="Measure again where the record is there.")] = False,
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines", help="Also measure what has learned nothing, e.g. the untrained network."
        ),
    ] = False,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure one method under one protocol, and store the record.

    A run that was interrupted continues; one that is finished is printed again.

    Examples:

      bench run --method lead --protocol fewshot

      bench run -m lead -p regression -c checkpoints/lead/weights.safetensors -d coco:my/faces -D landmarks=68

      bench run -m random --like checkpoints/lead/weights.safetensors -p matching

      bench run -m rahaman -p discovered --weights shipped-faces-end-to-end

      bench run -m dve -p matching -d mafl:path/to/celeba --preprocessing contrast-96
    """
    from rich.console import Console

    from bench.errors import BenchError
    from bench.loading import Preprocessing, named_preprocessing
    from bench.opening import DatasetRequest, resolve_options
    from bench.progress import Progress
    from bench.runner import RunRequest, baseline_requests
    from bench.runner import run as run_cell
    from bench.store import RunStore

    typed = {"image_size": image_size, "margin": margin}
    sizes = resolve_options(
        Preprocessing,
        [f"{key}={value}" for key, value in typed.items() if value is not None],
        "preprocessing",
        base=named_preprocessing(preprocessing).model_dump(),
    )
    progress = Progress(quiet=quiet)
    with continuable():
        request = RunRequest(
            method=method,
            protocol=protocol,
            dataset=DatasetRequest(dataset, tuple(dataset_options or ())),
            preset=preset,
            checkpoint=checkpoint,
            like=like,
            weights=weights,
            method_options=tuple(method_options or ()),
            protocol_options=tuple(protocol_options or ()),
            train_split=train_split,
            test_split=test_split,
            validation_split=validation_split,
            preprocessing=sizes,
            runs=runs,
            seed=seed,
            device=device,
            batch_size=batch_size,
            workers=workers,
            feature_dtype=_feature_type(feature_dtype),
            force=force,
        )
        results = [run_cell(request, progress)]
        if baselines:
            record = results[0].record
            results += [run_cell(wanted, progress) for wanted in baseline_requests(request, record)]
    if json_output:
        texts = [result.record.model_dump_json(indent=2) for result in results]
        print(f"[{', '.join(texts)}]" if baselines else texts[0])
        return
    console = Console()
    for result in results:
        show(result, RunStore(runs), console)
    failed = next((result.record for result in results if result.record.status != "ok"), None)
    if failed is not None:
        raise BenchError(failed.reason or "the run failed")


def _feature_type(name: str) -> FeatureType:
    from bench.errors import BenchError, did_you_mean
    from bench.record import FeatureType

    known: tuple[FeatureType, ...] = get_args(FeatureType)
    for kind in known:
        if name == kind:
            return kind
    raise BenchError(f"features cannot be of type {name!r}", hint=did_you_mean(name, known))


def show(result: RunResult, store: RunStore, console: Console) -> None:
    """The table of one run, its remarks, and where its files are."""
    from rich.markup import escape

    record = result.record
    console.print(headline(record), highlight=False)
    console.print(result_table(record))
    for note in record.notes:
        console.print(f"[dim]{escape(note)}[/dim]", highlight=False)
    if record.dataset is not None and record.dataset.tier == "procedural":
        console.print("[dim]Procedural data: not comparable with published numbers.[/dim]")
    seconds = record.provenance.get("seconds", {}).get("total")
    took = "found, nothing to measure" if result.reused else f"measured in {seconds:.0f} s"
    console.print(f"[dim]{took}; record {result.path}[/dim]", highlight=False)
    for picture in store.pictures(record.id).values():
        console.print(f"[dim]drawn: {picture}[/dim]", highlight=False)


def headline(record: RunRecord) -> str:
    """What was measured on what, and with which weights; beside the table, whose width would break its title."""
    from rich.markup import escape

    method, data, protocol = record.method, record.dataset, record.protocol
    on = "" if data is None else f" · {escape(data.name)}, {data.landmarks} landmarks"
    return (
        f"[bold]{escape(method.name)}[/bold] ({method.feature_dim}-d) · {escape(protocol.name)} "
        f"({escape(protocol.preset)}){on}\n"
        f"[dim]{escape(method.weights_label)}[/dim]"
    )


def result_table(record: RunRecord) -> Table:
    """One row per condition, one column per metric."""
    from rich.markup import escape
    from rich.table import Table

    conditions = list(dict.fromkeys(tuple(sorted(m.condition.items())) for m in record.metrics))
    names = list(dict.fromkeys(m.metric for m in record.metrics))
    table = Table()
    keys = list(dict.fromkeys(key for condition in conditions for key, _ in condition))
    for key in keys:
        table.add_column(escape(key), justify="right")
    for name in names:
        part = next(m for m in record.metrics if m.metric == name)
        arrow = "↓" if part.direction == "lower" else "↑"
        table.add_column(f"{escape(name)} {arrow}\n[dim]{escape(part.unit)}[/dim]", justify="right")
    for condition in conditions:
        cells = [escape(str(dict(condition).get(key, ""))) for key in keys]
        for name in names:
            found = [m for m in record.metrics if m.metric == name and m.condition == dict(condition)]
            cells.append(_cell(found[0]) if found else "—")
        table.add_row(*cells)
    return table


def _cell(part: MetricPart) -> str:
    text = f"[bold]{part.value:.2f}[/bold]"
    if part.std is not None:
        text += f" ± {part.std:.2f}"
    if part.low is not None and part.high is not None:
        text += f" [dim]\\[{part.low:.2f}, {part.high:.2f}][/dim]"
    return text
