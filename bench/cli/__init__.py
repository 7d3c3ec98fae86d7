"""The command line: parse, call, print. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import sys

import typer

from bench.cli import (
    cache,
    compare,
    data,
    data_render,
    doctor,
    export,
    listing,
    merge,
    plot,
    pretrain,
    report,
    reports,
    reproduce,
    run,
    runs,
    score,
    sweep,
    weights,
    weights_shipped,
)
from bench.errors import BenchError, ToldElsewhereError

app = typer.Typer(
    name="bench",
    help="Measure unsupervised landmark discovery methods under one set of protocols.",
    epilog="Start with: bench run --method lead --protocol fewshot",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("pretrain")(pretrain.pretrain)
app.command("reproduce")(reproduce.reproduce)
app.command("sweep")(sweep.sweep)
app.command("list")(listing.list_)
app.command("show")(listing.show)
app.command("leaderboard")(reports.leaderboard)
app.command("report")(report.report)
app.command("check")(reports.check)
app.command("merge")(merge.merge)
app.command("doctor")(doctor.doctor)
app.command("export")(export.export)
app.command("plot")(plot.plot)
app.command("compare")(compare.compare)
app.command("score")(score.score)
data.app.command("render")(data_render.render)
weights.app.command("ship")(weights_shipped.ship)
weights.app.command("shipped")(weights_shipped.shipped)
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")
app.add_typer(runs.app, name="runs")
app.add_typer(cache.app, name="cache")


def main() -> None:
    """Entry point: a user's mistake ends in one message on standard error and a non-zero status."""
    try:
        app()
    except ToldElsewhereError:
        sys.exit(1)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
