"""A grid's file becomes cells; mistakes in it are told by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.grid import read_grid
from bench.run_request import RunRequest

GRID = """
seeds = [0, 1, 2]
protocols = ["matching", { name = "fewshot", preset = "paper", options = [{ draws = 5 }, { counts = [1, 5] }] }]
preprocessings = ["square-96", { image_size = 64 }]

[[methods]]
name = "lead"
weights = ["w/lead.safetensors", { shipped = "faces" }]

[[methods]]
name = "mean-shape"

[[datasets]]
name = "coco:faces"
options = { landmarks = 68 }
test_split = "val"

[[exclude]]
method = "mean-shape"
seed = [1, 2]

[[exclude]]
weights = "faces"
protocol = "fewshot"
preprocessing = "64+0"
"""


def cells(tmp_path: Path, text: str) -> list[RunRequest]:
    file = tmp_path / "grid.toml"
    file.write_text(text)
    return [cell.request for cell in read_grid(file, runs=tmp_path / "runs")]


def test_every_combination_but_what_is_excluded(tmp_path: Path) -> None:
    found = cells(tmp_path, GRID)
    # lead: 2 weights x 3 protocols x 2 sizes x 3 seeds, less 2 fewshot x 3 seeds; mean-shape: 3 x 2, one seed.
    assert len(found) == 36 - 6 + 6
    assert len({request.to_json() for request in found}) == len(found)
    first = found[0]
    assert first.checkpoint == tmp_path / "w" / "lead.safetensors"
    assert (first.method, first.protocol, first.preset, first.seed) == ("lead", "matching", "quick", 0)
    assert first.dataset.spec == "coco:faces"
    assert first.dataset.options == ("landmarks=68",)
    assert first.test_split == "val"
    assert {request.protocol_options for request in found} == {(), ("draws=5",), ("counts=[1, 5]",)}
    assert {request.seed for request in found if request.method == "mean-shape"} == {0}
    assert not [
        r for r in found if r.weights and r.protocol == "fewshot" and r.preprocessing.image_size == 64
    ]


def test_a_variant_is_its_options_below_those_that_are_given(tmp_path: Path) -> None:
    from bench.opening import load_method  # noqa: PLC0415

    name, preset = next(iter(load_method("lead").variants.items()))
    (found,) = cells(
        tmp_path, f'protocols = ["matching"]\nmethods = [{{ name = "lead", variants = ["{name}"] }}]'
    )
    assert {option.partition("=")[0] for option in found.method_options} == set(preset.options)


def test_a_cell_travels_as_json(tmp_path: Path) -> None:
    for request in cells(tmp_path, GRID):
        again = RunRequest.from_json(request.to_json())
        assert again.to_json() == request.to_json()
        assert again.checkpoint == request.checkpoint
        assert again.preprocessing == request.preprocessing


BASE = 'protocols = ["matching"]\nmethods = ["lead"]\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BASE + "seed = [1]", "Did you mean 'seeds'"),
        (BASE + "seeds = [-1]", "seed -1"),
        (BASE + "seeds = []", "seeds"),
        (BASE + "datasets = [{ name = 'coco:f', option = {} }]", "Did you mean 'options'"),
        ('protocols = ["matchin"]\nmethods = ["lead"]', "Did you mean 'matching'"),
        ('protocols = ["matching"]\nmethods = ["leed"]', "Did you mean 'lead'"),
        ('protocols = ["matching"]\nmethods = [{ name = "lead", variants = ["x"] }]', "no variant 'x'"),
        (
            'protocols = ["matching"]\nmethods = [{ name = "lead", weights = [{ shiped = "a" }] }]',
            "'shipped'",
        ),
        ('protocols = ["matching"]\nmethods = [{ name = "lead", weights = [{}] }]', "say nothing"),
        (BASE + 'exclude = [{ metod = "lead" }]', "Did you mean 'method'"),
        (BASE + 'exclude = [{ method = "laed" }]', "Did you mean 'lead'"),
        (BASE + "exclude = [{}]", "says nothing"),
        (BASE + 'exclude = [{ method = "lead" }]', "excludes all"),
        ("methods = [", "cannot be read as TOML"),
        ('methods = ["lead"]', "protocols"),
    ],
)
def test_mistakes_are_told(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        cells(tmp_path, text)
    assert words in str(caught.value)


def test_a_grid_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="there is no"):
        read_grid(tmp_path / "grid.toml", runs=tmp_path)


@pytest.mark.parametrize(
    ("name", "seeds", "networks"), [("benchmarks", range(5), 6), ("benchmarks_other_categories", range(1), 5)]
)
def test_the_grids_of_the_benchmark_document_are_whole(name: str, seeds: range, networks: int) -> None:
    grid = Path(__file__).parents[2] / "docs" / f"{name}.toml"
    cells = read_grid(grid, runs=Path("runs"))
    assert {cell.request.seed for cell in cells} == set(seeds)
    assert {cell.request.method for cell in cells} >= {"thewlis", "dve", "contrast", "rahaman", "lead"}
    files = {cell.request.like for cell in cells if cell.request.method == "random"}
    assert len(files) == networks
    assert all(file is not None and file.is_file() for file in files)
