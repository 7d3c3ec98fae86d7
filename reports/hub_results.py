"""Records as ``.eval_results`` YAML, which a model's repository on the Hugging Face Hub shows as its results.

An entry names a data set on the Hub and a task that the data set's own ``eval.yaml`` defines; both have to exist there.
Which data set that is only the user can say. Tasks are named by protocol, metric and condition.

Reference:
    Hugging Face, Hub documentation, "Evaluation results", https://huggingface.co/docs/hub/eval-results
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import yaml
from pydantic import BaseModel, ConfigDict, Field

from bench.errors import BenchError
from bench.record import MetricPart, RunRecord
from reports.frame import condition_text, one_line

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class HubDataset(_Part):
    """A data set of the Hub, and one of its tasks."""

    id: str = Field(pattern=_HUB_ID.pattern)
    task_id: str = Field(min_length=1)


class HubResult(_Part):
    """One entry of the list in a file."""

    dataset: HubDataset
    value: float
    notes: str = ""


def require_hub_id(text: str) -> str:
    """``OWNER/NAME``.

    Raises:
        BenchError: where it is not.
    """
    if _HUB_ID.fullmatch(text) is None:
        raise BenchError(f"{text!r} is no id of a data set on the Hub", hint="Expected OWNER/NAME.")
    return text


def results_of(records: Iterable[RunRecord], hub: Mapping[str, str]) -> list[HubResult]:
    """An entry for every value of one model.

    Args:
        records: Of one model; those that read no images have no place in this format and are left out.
        hub: Name of a data set, as in the records -> its id on the Hub.

    Raises:
        BenchError: for a data set of which no id was given.
    """
    results = []
    for record in records:
        if record.dataset is None:
            continue
        name = one_line(record.dataset.name)
        if name not in hub:
            raise BenchError(
                f"this format names data sets by their id on the Hub, and none was given for {name!r}",
                hint=f"Give it: --hub {name}=OWNER/NAME; or leave the data set out with --dataset.",
            )
        results += [
            HubResult(
                dataset=HubDataset(id=hub[name], task_id=task_of(record, part)),
                value=part.value,
                notes=_notes(record, part),
            )
            for part in record.metrics
        ]
    return results


def task_of(record: RunRecord, part: MetricPart) -> str:
    """Such as ``fewshot-nme_interocular-annotations-10``."""
    condition = re.sub(r"[=,]", "-", condition_text(part.condition))
    text = "-".join(word for word in (record.protocol.name, part.metric, condition) if word)
    return re.sub(r"[^\w.@-]+", "-", text)


def file_content(results: Iterable[HubResult]) -> str:
    """The list as YAML."""
    entries = [result.model_dump(mode="json") for result in results]
    text: str = yaml.safe_dump(entries, sort_keys=False, allow_unicode=True)
    return text


def _notes(record: RunRecord, part: MetricPart) -> str:
    """What the format has no field for."""
    told = [f"landmark-bench {one_line(record.protocol.name)} version {record.protocol.version}"]
    told.append(f"preset {one_line(record.protocol.preset)}, seed {record.seed}, record {record.id}")
    told.append(f"{one_line(part.unit)}, {part.direction} is better")
    if record.dataset is not None and record.dataset.tier == "procedural":
        told.append("procedural data, not photographs")
    if part.low is not None and part.high is not None:
        told.append(f"95 % interval {part.low:.6g} to {part.high:.6g}")
    if part.std is not None:
        told.append(f"standard deviation over draws {part.std:.6g}")
    return "; ".join(told)
