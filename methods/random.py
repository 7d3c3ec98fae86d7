"""The networks of the methods with their initial weights: what the architecture alone is worth.

Every paper's tables have this row; a trained method that does not beat it has learned nothing.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from bench import registry
from bench.errors import BenchError, did_you_mean
from bench.features import FeatureExtractor
from bench.method import Method, MethodOptions, Preset
from bench.opening import preset_of
from bench.options import build_options
from bench.seeds import seeded_initialisation
from bench.weights import Weights


class RandomOptions(MethodOptions):
    """Whose network, and its architecture."""

    network: str = Field(default="lead", description="The method whose network is left untrained.")
    preset: str = Field(default="paper", description="Which of that method's presets gives the architecture.")
    options: dict[str, Any] = Field(
        default_factory=dict, description='That method\'s own options on top of it, e.g. {"dim": 128}.'
    )
    init_seed: int = Field(default=0, description="Seed of the initial weights.")


class Random(Method):
    """An untrained network: exactly the one that a pre-training with the same seed starts from."""

    name = "random"
    summary = "The network of any method with its initial weights, batch norm in evaluation mode."
    reference = "Rows 'Random' of Cheng et al. 2021, supplement, tables 4 and 5"
    Options = RandomOptions
    rehearsal = Preset(
        "For the conformance suite.",
        options={
            "network": "lead",
            "options": {"backbone": "resnet18", "width": 8, "dim": 8, "fpn_width": 8, "fpn_merged": 8},
        },
    )

    def build(self, options: RandomOptions) -> FeatureExtractor:
        method, resolved = _resolved(options)
        with seeded_initialisation(options.init_seed, "initial weights"):
            return method.build(resolved)

    def describe(self, options: RandomOptions) -> dict[str, Any]:
        # The preset is not told: what it gives is in the options, and two that give the same are the same network.
        method, resolved = _resolved(options)
        return {
            "network": method.name,
            "options": resolved.model_dump(mode="json"),
            "init_seed": options.init_seed,
        }

    def untrained_label(self, options: RandomOptions) -> str:
        return f"initial weights of {options.network}, not trained"

    def like(self, weights: Weights) -> dict[str, Any]:
        return {"network": weights.method, "options": weights.options}


def _resolved(options: RandomOptions) -> tuple[Method, Any]:
    """The method and its full options.

    Raises:
        BenchError: for a method that is unknown or has no training, and so no initial weights of its own.
    """
    method: Method = registry.load("methods", options.network)()
    what = f"method {method.name!r}"
    if not method.presets:
        trained = [name for name in registry.names("methods") if registry.load("methods", name).presets]
        raise BenchError(
            f"option network={options.network!r} of method 'random': it has no network of its own to leave untrained",
            hint=did_you_mean(options.network, trained),
        )
    preset = preset_of(method.presets, options.preset, what)
    return method, build_options(method.Options, {**preset.options, **options.options}, what)
