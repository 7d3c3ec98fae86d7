"""``bench pretrain``: train a method without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.common import Dataset, DatasetOptions, Device, MethodOptions, Quiet, Seed, Workers, continuable


def pretrain(
    method: Annotated[str | None, typer.Option("--method", "-m", help="See: bench list methods.")] = None,
    every_method: Annotated[
        bool, typer.Option("--all", help="Every method that has the preset, one after another.")
    ] = False,
    dataset: Dataset = "synthetic-faces",
    dataset_options: DatasetOptions = None,
    preset: Annotated[
        str, typer.Option(help="paper, small, tiny, shipped-faces; see: bench show METHOD.")
    ] = "small",
    variant: Annotated[
        str | None, typer.Option(help="A network or ablation of the paper's tables; see: bench show METHOD.")
    ] = None,
    initial: Annotated[
        Path | None,
        typer.Option("--init", help="Weights to start from: fine-tuning."),
    ] = None,
    method_options: MethodOptions = None,
    recipe_options: Annotated[
        list[str] | None,
        typer.Option("-R", metavar="KEY=VALUE", help="Option of the recipe, e.g. batch_size=128."),
    ] = None,
    splits: Annotated[
        list[str] | None, typer.Option("--split", help="Split to train on; may be given several times.")
    ] = None,
    share: Annotated[
        float,
        typer.Option(help="Part of the images, drawn by the seed, e.g. 0.05: how much data does it need?"),
    ] = 1.0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of weights, checkpoints and log.csv.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Annotated[
        str,
        typer.Option(
            help="auto, float32, bfloat16 or, on a GPU, float16; auto is bfloat16 on a GPU, but never for 'paper'."
        ),
    ] = "auto",
    accumulate: Annotated[
        int,
        typer.Option(
            min=1, help="Compute each batch in so many parts, for less memory; each has its own negatives."
        ),
    ] = 1,
    snapshot_every: Annotated[
        int, typer.Option(min=0, help="Also keep weights every so many steps, for learning curves.")
    ] = 0,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard events beside log.csv.")
    ] = False,
    workers: Workers = 0,
    quiet: Quiet = False,
) -> None:
    """Train a method without labels; the same command continues an interrupted training.

    On several GPUs or hosts: torchrun --nproc-per-node 2 -m bench pretrain ...; see docs/distributed.md.

    Examples:

      bench pretrain --method lead --dataset coco:my/faces --preset small

      bench pretrain -m dve --variant smallnet-3 --preset paper --dataset coco:my/faces

      bench pretrain -m lead -R stage1_epochs=10 -M dim=128 -o checkpoints/lead-128

      bench pretrain -m contrast --share 0.05 --dataset coco:my/faces

      bench pretrain -m thewlis --init celeba.safetensors --dataset coco:my/faces

      bench pretrain --all --preset shipped-faces
    """
    from bench.distributed import Place
    from bench.errors import BenchError
    from bench.opening import DatasetRequest
    from bench.pretraining import PretrainRequest
    from bench.pretraining import pretrain as run_pretraining
    from bench.pretraining_all import pretrain_all
    from bench.progress import Progress

    if (method is None) != every_method:
        raise BenchError("give either --method NAME or --all", hint="The names: bench list methods.")
    progress = Progress(quiet=quiet)
    with continuable():
        request = PretrainRequest(
            method=method or "",
            dataset=DatasetRequest(dataset, tuple(dataset_options or ())),
            preset=preset,
            variant=variant,
            initial=initial,
            method_options=tuple(method_options or ()),
            recipe_options=tuple(recipe_options or ()),
            splits=tuple(splits) if splits else None,
            share=share,
            output=output,
            seed=seed,
            device=device,
            precision=precision,
            accumulate=accumulate,
            snapshot_every=snapshot_every,
            tensorboard=tensorboard,
            workers=workers,
        )
        written = pretrain_all(request, progress) if every_method else [run_pretraining(request, progress)]
    if Place.from_environment().is_main:
        for weights in written:
            print(weights)
