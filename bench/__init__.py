"""Measure unsupervised landmark discovery methods under one set of protocols.

This is the public API: what the author of a method, data set, protocol or report imports. Names are loaded when
they are first used, so that ``import bench`` (and the command line's help) does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.errors import BenchError as BenchError
    from bench.features import FeatureExtractor as FeatureExtractor
    from bench.features import FeatureMap as FeatureMap
    from bench.landmarks import DatasetInfo as DatasetInfo
    from bench.landmarks import DatasetProvider as DatasetProvider
    from bench.landmarks import LandmarkDataset as LandmarkDataset
    from bench.landmarks import LandmarkSchema as LandmarkSchema
    from bench.landmarks import Sample as Sample
    from bench.method import Annotations as Annotations
    from bench.method import CheckpointFormat as CheckpointFormat
    from bench.method import Method as Method
    from bench.method import MethodOptions as MethodOptions
    from bench.method import Preset as Preset
    from bench.method import PretrainJob as PretrainJob
    from bench.method import Recipe as Recipe
    from bench.method import Translation as Translation
    from bench.protocol import Measurement as Measurement
    from bench.protocol import MetricSpec as MetricSpec
    from bench.protocol import MetricValue as MetricValue
    from bench.protocol import Protocol as Protocol
    from bench.protocol import ProtocolOptions as ProtocolOptions
    from bench.record import RunRecord as RunRecord
    from bench.report import Report as Report
    from bench.report import ReportOutput as ReportOutput
    from bench.report import Runs as Runs
    from bench.samples import Ratio as Ratio
    from bench.samples import Samples as Samples
    from bench.sharing import share as share
    from bench.sharing import share_mean as share_mean
    from bench.store import RunStore as RunStore
    from bench.surfaces import HasSurface as HasSurface
    from bench.surfaces import SurfaceMap as SurfaceMap
    from bench.surfaces import dense_correspondences as dense_correspondences
    from bench.tables import Cell as Cell
    from bench.tables import Paper as Paper
    from bench.tables import Table as Table
    from bench.training import Batch as Batch
    from bench.training import Stage as Stage
    from bench.training import run_stage as run_stage

__version__ = "0.1.0"

_HOME = {
    "Annotations": "method",
    "Batch": "training",
    "BenchError": "errors",
    "Cell": "tables",
    "CheckpointFormat": "method",
    "dense_correspondences": "surfaces",
    "DatasetInfo": "landmarks",
    "DatasetProvider": "landmarks",
    "FeatureExtractor": "features",
    "FeatureMap": "features",
    "HasSurface": "surfaces",
    "LandmarkDataset": "landmarks",
    "LandmarkSchema": "landmarks",
    "Measurement": "protocol",
    "Method": "method",
    "MethodOptions": "method",
    "MetricSpec": "protocol",
    "MetricValue": "protocol",
    "Paper": "tables",
    "Preset": "method",
    "PretrainJob": "method",
    "Protocol": "protocol",
    "ProtocolOptions": "protocol",
    "Ratio": "samples",
    "Recipe": "method",
    "Report": "report",
    "ReportOutput": "report",
    "run_stage": "training",
    "RunRecord": "record",
    "Runs": "report",
    "RunStore": "store",
    "share": "sharing",
    "share_mean": "sharing",
    "Sample": "landmarks",
    "Samples": "samples",
    "Stage": "training",
    "SurfaceMap": "surfaces",
    "Table": "tables",
    "Translation": "method",
}

__all__ = [
    "Annotations",
    "Batch",
    "BenchError",
    "Cell",
    "CheckpointFormat",
    "DatasetInfo",
    "DatasetProvider",
    "FeatureExtractor",
    "FeatureMap",
    "HasSurface",
    "LandmarkDataset",
    "LandmarkSchema",
    "Measurement",
    "Method",
    "MethodOptions",
    "MetricSpec",
    "MetricValue",
    "Paper",
    "Preset",
    "PretrainJob",
    "Protocol",
    "ProtocolOptions",
    "Ratio",
    "Recipe",
    "Report",
    "ReportOutput",
    "RunRecord",
    "RunStore",
    "Runs",
    "Sample",
    "Samples",
    "Stage",
    "SurfaceMap",
    "Table",
    "Translation",
    "__version__",
    "dense_correspondences",
    "run_stage",
    "share",
    "share_mean",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"bench.{_HOME[name]}"), name)
    raise AttributeError(f"module 'bench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
