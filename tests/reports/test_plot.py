"""``bench plot``, by its report."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from rich.console import Console
from typer.testing import CliRunner

from bench import registry
from bench.cli import app
from bench.errors import BenchError
from bench.report import ReportOutput, Runs
from bench.store import RunStore
from reports.figures import FIGURES
from reports.plot import PlotOptions, PlotReport
from tests.reports.figure_records import equivariance, few_shot, scale

RUNS = Runs([few_shot(), few_shot(dataset="synthetic-cats", fingerprint="c" * 64), scale(), equivariance()])


def render(*names: str, runs: Runs = RUNS, **options: Any) -> ReportOutput:
    return PlotReport().render(runs, PlotOptions.model_validate({"names": names, **options}))


def printed(output: ReportOutput) -> str:
    console = Console(file=io.StringIO(), width=80, record=True)
    assert output.renderable is not None
    console.print(output.renderable)
    return console.export_text()


def test_a_kind_gives_all_its_figures_and_all_gives_every_kind() -> None:
    assert sorted(render("scale", "fewshot").files) == [
        Path("figures/fewshot-synthetic-cats.svg"),
        Path("figures/fewshot-synthetic-faces.svg"),
        Path("figures/scale-synthetic-faces.svg"),
    ]
    everything = render("all", format="pdf", output=Path("paper"))
    assert len(everything.files) == 4
    assert all(path.parent == Path("paper") and path.suffix == ".pdf" for path in everything.files)
    assert all(
        bytes(content)[:4] == b"%PDF" for content in everything.files.values() if isinstance(content, bytes)
    )


def test_one_figure_goes_to_a_file() -> None:
    output = render("fewshot-synthetic-cats", output=Path("cats.png"))
    assert list(output.files) == [Path("cats.png")]
    (told,) = output.data["figures"]
    assert told["file"] == "cats.png"
    assert told["records"] == [few_shot(dataset="synthetic-cats", fingerprint="c" * 64).id]
    assert told["caption"].split()[0] in printed(output)


def test_a_file_holds_one_figure() -> None:
    with pytest.raises(BenchError, match="there are 2") as error:
        render("fewshot", output=Path("x.svg"))
    assert "fewshot-synthetic-cats, fewshot-synthetic-faces" in str(error.value)
    assert render("fewshot", output=Path("x.svg"), datasets=("synthetic-cats",)).files


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (("fewshto",), {}, "Did you mean 'fewshot'"),
        (("fewshot-synthetic-dogs",), {}, "Did you mean 'fewshot-synthetic-cats'"),
        (("fewshot",), {"output": Path("x.jpg")}, "not written as .jpg"),
        (("fewshot",), {"output": Path("x.png"), "format": "svg"}, "do not agree"),
        (("fewshot",), {"datasets": ("synthetic-dogs",)}, "synthetic-cats"),
        (("errors",), {}, "bench run --protocol regression"),
        (("cases",), {}, "--force"),
        (("scale",), {"datasets": ("synthetic-cats",)}, "that the filters leave"),
    ],
)
def test_mistakes_are_told(names: tuple[str, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError) as error:
        render(*names, **options)
    assert message in str(error.value)


def test_no_records_say_what_to_run() -> None:
    with pytest.raises(BenchError, match="bench run --protocol fewshot"):
        render("all", runs=Runs([]))
    with pytest.raises(ValidationError):
        render("all", format="jpg")


def test_the_list_names_every_kind_and_its_protocols() -> None:
    output = render()
    assert not output.files
    text = printed(output)
    assert all(kind.name in text for kind in FIGURES.values())
    assert all(len(line) <= 80 for line in text.splitlines())


def test_the_command_writes_files_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load", lambda group, name: PlotReport)
    store = RunStore(tmp_path / "runs")
    store.save(few_shot())
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["plot", "fewshot", "--runs", str(store.folder), "-o", str(out)])
    assert result.exit_code == 0, result.output
    written = out / "fewshot-synthetic-faces.svg"
    assert written.read_text().startswith("<?xml")
    assert "fewshot-synthetic-faces: NME" in result.output
    listed = CliRunner().invoke(app, ["plot", "--list", "--runs", str(store.folder)])
    assert "equivariance" in listed.output
    nothing = CliRunner().invoke(app, ["plot", "--runs", str(store.folder)])
    assert isinstance(nothing.exception, BenchError)
