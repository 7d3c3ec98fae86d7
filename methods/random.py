"""The networks of the methods with their initial weights: what the architecture alone is worth.

Every paper's tables have this row; a trained method that does not beat it has learned nothing.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bench.features import FeatureExtractor
from bench.method import Method
from bench.seeds import seeded_initialisation
from methods.lead import LEADNetwork, LEADOptions


class RandomOptions(LEADOptions):
    """Whose network, and its architecture."""

    network: Literal["lead"] = Field(
        default="lead", description="The method whose network is left untrained."
    )
    init_seed: int = Field(default=0, description="Seed of the initial weights.")


class Random(Method):
    """An untrained network."""

    name = "random"
    summary = "The same networks with their initial weights, batch norm in evaluation mode."
    reference = "Rows 'Random' of Cheng et al. 2021, supplement, tables 4 and 5"
    Options = RandomOptions

    def build(self, options: RandomOptions) -> FeatureExtractor:
        with seeded_initialisation(options.init_seed, "initial weights"):
            return LEADNetwork(options)
