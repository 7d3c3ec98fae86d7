"""One preset of every method that has it, trained one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import registry
from bench.distributed import Place
from bench.errors import BenchError, did_you_mean
from bench.method import Method
from bench.opening import load_method
from bench.pretraining import PretrainRequest, pretrain
from bench.progress import Progress


def pretrain_all(request: PretrainRequest, progress: Progress) -> list[Path]:
    """Train the request's preset of every method that has it; what is finished is found again.

    A method that fails does not keep the others from being trained.

    Args:
        request: Its ``method`` is not read; with an ``output``, every method has a folder of its name in it.

    Returns:
        The weights files, in the order of the methods' names.

    Raises:
        BenchError: for a preset that no method has, for what makes sense for a single method alone, and at the end
            where trainings failed; says which, and why.
    """
    _require_for_all(request)
    if Place.from_environment().size > 1:
        raise BenchError(
            "--all trains in one process, and a launcher has started several",
            hint="Launch the methods one after another, each with --method.",
        )
    methods = _methods(progress)
    chosen = [method.name for method in methods if request.preset in method.presets]
    if not chosen:
        known = {preset for method in methods for preset in method.presets}
        raise BenchError(
            f"no method has a preset {request.preset!r}", hint=did_you_mean(request.preset, known)
        )
    trained: list[Path] = []
    failed: dict[str, BenchError] = {}
    for number, name in enumerate(chosen, start=1):
        progress.say(f"method {number} of {len(chosen)}: [bold]{name}[/bold]")
        output = request.output / name if request.output else None
        try:
            trained.append(pretrain(replace(request, method=name, output=output), progress))
        except BenchError as error:
            failed[name] = error
            progress.say(f"{name}: {error.message}")
    if failed:
        reasons = "".join(f"\n  {name}: {error}" for name, error in failed.items())
        raise BenchError(
            f"{len(failed)} of {len(chosen)} methods could not be trained:{reasons}",
            hint="The others are finished; the same command tries again what is not.",
        )
    return trained


def _require_for_all(request: PretrainRequest) -> None:
    single: dict[str, str | Path | Sequence[str] | None] = {
        "--variant": request.variant,
        "--init": request.initial,
        "-M": request.method_options,
        "-R": request.recipe_options,
    }
    given = [flag for flag, value in single.items() if value]
    if given:
        raise BenchError(
            f"--all trains methods whose options differ, and {' and '.join(given)} is for one of them",
            hint="Train that one with --method.",
        )


def _methods(progress: Progress) -> list[Method]:
    methods = []
    for name in registry.names("methods"):
        try:
            methods.append(load_method(name))
        except BenchError as error:  # of another distribution
            progress.say(f"left out: {error.message}")
    return methods
