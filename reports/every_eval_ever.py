"""Records as "Every Eval Ever" JSON, version 0.3.0: one file for each run.

The models below are that format's rules as far as they are known here; they refuse what the format does not know.
Free details are texts, because some versions of the format allow nothing else. The bounds of a score, which the format
wants of a continuous one, are given where the unit has some (percent of a whole); an error has no upper bound, so its
type and bounds are left out.

Reference:
    EvalEval Coalition, Every Eval Ever, https://github.com/evaleval/every_eval_ever
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.record import DatasetPart, MetricPart, RunRecord
from reports.frame import condition_text, network_name, one_line, slug

SCHEMA_VERSION = "0.3.0"

Relationship = Literal["first_party", "third_party", "collaborative", "other"]

_Details = dict[str, str]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SourceMetadata(_Part):
    """Who measured."""

    source_name: str
    source_type: Literal["documentation", "evaluation_run"]
    source_organization_name: str = Field(min_length=1)
    evaluator_relationship: Relationship


class EvalLibrary(_Part):
    """With what."""

    name: str
    version: str
    additional_details: _Details = {}


class ModelInfo(_Part):
    """What was measured; ``id`` is ``developer/model``."""

    name: str
    id: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    developer: str
    additional_details: _Details = {}


class SourceData(_Part):
    """On what. Whoever publishes the data on the Hub or the web names it there."""

    dataset_name: str
    source_type: Literal["hf_dataset", "url", "other"]
    samples_number: int | None = Field(default=None, ge=0)
    additional_details: _Details = {}


class MetricConfig(_Part):
    """What the number is."""

    evaluation_description: str
    metric_id: str
    metric_name: str
    metric_unit: str
    metric_parameters: dict[str, str | int | float | bool] = {}
    lower_is_better: bool
    score_type: Literal["binary", "continuous", "levels"] | None = None
    min_score: float | None = None
    max_score: float | None = None

    @model_validator(mode="after")
    def _bounds_belong_to_a_continuous_score(self) -> MetricConfig:
        if self.score_type == "continuous" and (self.min_score is None or self.max_score is None):
            raise ValueError("a continuous score has min_score and max_score")
        return self


class ConfidenceInterval(_Part):
    """Of a score."""

    lower: float
    upper: float
    confidence_level: float = Field(gt=0, lt=1)
    method: str


class Uncertainty(_Part):
    """How sure a score is."""

    confidence_interval: ConfidenceInterval | None = None
    standard_deviation: float | None = Field(default=None, ge=0)
    num_samples: int | None = Field(default=None, ge=0)


class ScoreDetails(_Part):
    """The number."""

    score: float
    details: _Details = {}
    uncertainty: Uncertainty | None = None


class EvaluationResult(_Part):
    """One number with its metric and its data."""

    evaluation_name: str
    source_data: SourceData
    metric_config: MetricConfig
    score_details: ScoreDetails


class Evaluation(_Part):
    """One file."""

    schema_version: Literal["0.3.0"] = "0.3.0"
    evaluation_id: str
    retrieved_timestamp: str = Field(pattern=r"^\d+(\.\d+)?$", description="Seconds since 1970.")
    source_metadata: SourceMetadata
    eval_library: EvalLibrary
    model_info: ModelInfo
    evaluation_results: tuple[EvaluationResult, ...] = Field(min_length=1)


def evaluation_of(
    record: RunRecord, *, organization: str, relationship: Relationship, retrieved: str
) -> Evaluation:
    """A run that has values, in this format.

    Args:
        organization: Who measured.
        relationship: To the developers of what was measured.
        retrieved: Time of the export, seconds since 1970.
    """
    method = record.method
    model = network_name(record)
    return Evaluation(
        evaluation_id=f"landmark-bench-{slug(record.protocol.name)}/{model}/{record.id}/{retrieved}",
        retrieved_timestamp=retrieved,
        source_metadata=SourceMetadata(
            source_name="landmark-bench",
            source_type="evaluation_run",
            source_organization_name=organization,
            evaluator_relationship=relationship,
        ),
        eval_library=_library(record),
        model_info=ModelInfo(
            name=one_line(method.name),
            id=f"landmark-bench/{model}",
            developer="landmark-bench",
            additional_details={
                "weights": one_line(method.weights_label),
                "weights_sha256": one_line(method.weights_sha256),
                "options": _json(method.options),
                "feature_dim": str(method.feature_dim),
                "feature_dtype": method.feature_dtype,
            },
        ),
        evaluation_results=tuple(_result(record, part) for part in record.metrics),
    )


def file_content(evaluation: Evaluation) -> str:
    """Its JSON; what is not known is left out."""
    told = evaluation.model_dump(mode="json", exclude_none=True)
    return json.dumps(told, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _library(record: RunRecord) -> EvalLibrary:
    versions = record.provenance.get("versions")
    version = versions.get("bench") if isinstance(versions, dict) else None
    return EvalLibrary(
        name="landmark-bench",
        version=one_line(str(version)) if version else "unknown",
        additional_details={
            "protocol": one_line(record.protocol.name),
            "protocol_version": str(record.protocol.version),
            "preset": one_line(record.protocol.preset),
            "protocol_options": _json(record.protocol.options),
            "seed": str(record.seed),
            "record": record.id,
        },
    )


def _result(record: RunRecord, part: MetricPart) -> EvaluationResult:
    condition = condition_text(part.condition)
    metric = one_line(part.metric)
    bounded = part.direction == "higher" and part.unit.startswith("% of")
    interval = None
    if part.low is not None and part.high is not None:
        interval = ConfidenceInterval(
            lower=part.low, upper=part.high, confidence_level=0.95, method="bootstrap over images"
        )
    uncertainty = Uncertainty(
        confidence_interval=interval, standard_deviation=part.std, num_samples=part.count
    )
    return EvaluationResult(
        evaluation_name=" ".join(
            text for text in (one_line(record.protocol.name), metric, condition) if text
        ),
        source_data=_source(record.dataset),
        metric_config=MetricConfig(
            evaluation_description=one_line(f"{part.definition} {part.averaging}"),
            metric_id=metric,
            metric_name=metric,
            metric_unit=one_line(part.unit),
            metric_parameters={
                one_line(key): one_line(value) if isinstance(value, str) else value
                for key, value in part.condition.items()
            },
            lower_is_better=part.direction == "lower",
            score_type="continuous" if bounded else None,
            min_score=0.0 if bounded else None,
            max_score=100.0 if bounded else None,
        ),
        score_details=ScoreDetails(
            score=part.value, uncertainty=None if uncertainty == Uncertainty() else uncertainty
        ),
    )


def _source(dataset: DatasetPart | None) -> SourceData:
    if dataset is None:
        return SourceData(dataset_name="none", source_type="other")
    return SourceData(
        dataset_name=one_line(dataset.name),
        source_type="other",
        samples_number=dataset.counts.get("test"),
        additional_details={
            "tier": dataset.tier,
            "landmarks": str(dataset.landmarks),
            "splits": _json(dataset.splits),
            "fingerprints": _json(dataset.fingerprints),
            "options": _json(dataset.options),
            "preprocessing": _json(dataset.preprocessing),
        },
    )


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False)
