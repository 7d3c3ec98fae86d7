"""Records as "Every Eval Ever" JSON, version 0.3.0: one file for each run.

The models below are the part of the format's schema that is used here, and its validator's rules for that part; they
refuse what the format does not know. Free details are texts, as the schema asks.

Reference:
    EvalEval Coalition, Every Eval Ever, arXiv:2606.14516; package every-eval-ever 0.3.0: schemas/eval.schema.json and
    validator/validation_core.py
"""

from __future__ import annotations

import json
import uuid
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.record import DatasetPart, MetricPart, RunRecord
from reports.frame import condition_text, network_name, one_line, slug

SCHEMA_VERSION = "0.3.0"

Relationship = Literal["first_party", "third_party", "collaborative", "other"]
Availability = Literal["open_weights", "closed_weights", "unknown"]
Bound = float | Literal["Infinity", "-Infinity"]

_Details = dict[str, str]
_DEVELOPER = "landmark-bench"
_RANGE_OF_UNIT: dict[str, tuple[Bound, Bound]] = {
    "%": (0.0, 100.0),
    "share, 0 to 1": (0.0, 1.0),
    "at most 1": ("-Infinity", 1.0),
}


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


class ModelDetails(_Part):
    """Who ran it, whether its weights can be had, and texts of any name."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, str] = Field(init=False)

    deployment_type: Literal["self_deployed", "externally_managed", "unknown"] = "self_deployed"
    model_availability: Availability


class ModelInfo(_Part):
    """What was measured; ``id`` is ``developer/model``, which names the file's folders too."""

    name: str
    id: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    developer: str
    additional_details: ModelDetails


class SourceData(_Part):
    """On what. ``other``: neither a URL nor a repository of the Hub is known of the data."""

    dataset_name: str
    source_type: Literal["other"] = "other"
    additional_details: _Details = {}


class MetricConfig(_Part):
    """What the number is. All are continuous, for which the format wants bounds; infinite ones are texts."""

    evaluation_description: str
    metric_id: str
    metric_name: str
    metric_unit: str
    metric_parameters: dict[str, str | int | float | bool] = {}
    lower_is_better: bool
    score_type: Literal["continuous"] = "continuous"
    min_score: Bound
    max_score: Bound


class ConfidenceInterval(_Part):
    """Of a score."""

    lower: float
    upper: float
    confidence_level: float = Field(gt=0, lt=1)
    method: str


class Uncertainty(_Part):
    """How sure a score is. The format's ``standard_deviation`` is one of samples, of which records hold none."""

    confidence_interval: ConfidenceInterval | None = None
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

    @model_validator(mode="after")
    def _score_lies_within_its_bounds(self) -> EvaluationResult:
        metric = self.metric_config
        if not float(metric.min_score) <= self.score_details.score <= float(metric.max_score):
            raise ValueError(
                f"score {self.score_details.score} is outside {metric.min_score} to {metric.max_score}"
            )
        return self


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
    record: RunRecord,
    *,
    organization: str,
    relationship: Relationship,
    availability: Availability,
    retrieved: str,
) -> Evaluation:
    """A run that has values, in this format.

    Args:
        organization: Who measured.
        relationship: To the developers of what was measured.
        availability: Of the weights.
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
            id=f"{_DEVELOPER}/{model}",
            developer=_DEVELOPER,
            additional_details=ModelDetails.model_validate(
                {
                    "model_availability": availability,
                    "weights": one_line(method.weights_label),
                    "weights_sha256": one_line(method.weights_sha256),
                    "options": _json(method.options),
                    "feature_dim": str(method.feature_dim),
                    "feature_dtype": method.feature_dtype,
                }
            ),
        ),
        evaluation_results=tuple(_result(record, part) for part in record.metrics),
    )


def path_of(evaluation: Evaluation, record: RunRecord) -> PurePosixPath:
    """``data/COLLECTION/DEVELOPER/MODEL/UUID.json``, where the format's data store wants it.

    The name has the form of a random UUID, as the store asks, but is made from the record's id: a record that is
    exported again takes the same place.
    """
    collection, _, _ = evaluation.evaluation_id.partition("/")
    name = uuid.UUID(bytes=sha256(record.id.encode()).digest()[:16], version=4)
    return PurePosixPath("data", collection, *evaluation.model_info.id.split("/"), f"{name}.json")


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
    lowest, highest = _bounds(part)
    interval = None
    if part.low is not None and part.high is not None:
        interval = ConfidenceInterval(
            lower=part.low, upper=part.high, confidence_level=0.95, method="bootstrap over images"
        )
    uncertainty = Uncertainty(confidence_interval=interval, num_samples=part.count)
    details = {} if part.std is None else {"standard_deviation_over_draws": f"{part.std:.6g}"}
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
            min_score=lowest,
            max_score=highest,
        ),
        score_details=ScoreDetails(
            score=part.value,
            details=details,
            uncertainty=None if uncertainty == Uncertainty() else uncertainty,
        ),
    )


def _bounds(part: MetricPart) -> tuple[Bound, Bound]:
    """What the unit says. An error has no upper bound; of a metric of a plug-in nothing may be known."""
    unit = "%" if part.direction == "higher" and part.unit.startswith("% of") else part.unit
    lowest, highest = _RANGE_OF_UNIT.get(
        unit, ("-Infinity" if part.direction == "higher" else 0.0, "Infinity")
    )
    if part.value < float(lowest):
        lowest = "-Infinity"
    if part.value > float(highest):
        highest = "Infinity"
    return lowest, highest


def _source(dataset: DatasetPart | None) -> SourceData:
    if dataset is None:
        return SourceData(dataset_name="none")
    return SourceData(
        dataset_name=one_line(dataset.name),
        additional_details={
            "tier": dataset.tier,
            "images": _json(dataset.counts),
            "landmarks": str(dataset.landmarks),
            "splits": _json(dataset.splits),
            "fingerprints": _json(dataset.fingerprints),
            "options": _json(dataset.options),
            "preprocessing": _json(dataset.preprocessing),
        },
    )


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False)
