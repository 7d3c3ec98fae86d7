"""``bench list`` and ``bench show``: what there is, and what one of them can do."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.common import Json
from bench.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

    from bench import registry
    from bench.method import Method, Preset

_GIVES = {"dense": "dense features", "landmarks": "discovered landmarks"}

_HEADINGS: dict[registry.Group, str] = {
    "methods": "method",
    "datasets": "data set",
    "protocols": "protocol",
    "reports": "report",
    "tables": "paper",
}


def list_(
    kind: Annotated[
        str | None, typer.Argument(metavar="[methods|datasets|protocols|reports|tables]", help="Only these.")
    ] = None,
    json_output: Json = False,
) -> None:
    """List methods, data sets, protocols, reports and papers, one line each; ``tables``: the papers' tables.

    Examples:

      bench list

      bench list methods

      bench list tables
    """
    from bench import registry

    if kind == "tables":
        _list_tables(json_output)
        return
    groups = registry.GROUPS if kind is None else (_group(kind),)
    found = {group: registry.summaries(group) for group in groups}
    if json_output:
        print(json.dumps(found, indent=2))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    for group, summaries in found.items():
        table = Table(_HEADINGS[group], "what it is", expand=False)
        for name, summary in summaries.items():
            table.add_row(f"[bold]{escape(name)}[/bold]", escape(summary))
        console.print(table)


def _list_tables(json_output: bool) -> None:
    from bench.tables import all_tables

    if json_output:
        content = [
            {
                "name": table.name,
                "summary": table.summary,
                "metrics": list(table.metrics),
                "datasets": list(table.datasets),
                "cells": len(table.cells),
            }
            for table in all_tables()
        ]
        print(json.dumps(content, indent=2))
        return
    from bench.cli.reproduce_tables import print_tables

    print_tables(all_tables())


def show(
    name: Annotated[str, typer.Argument(help="A method, data set, protocol or report; see: bench list.")],
    json_output: Json = False,
) -> None:
    """Show what one component is, its presets, options with defaults, and metrics.

    Examples:

      bench show lead

      bench show fewshot --json
    """
    from bench import registry

    groups = [group for group in registry.GROUPS if name in registry.names(group)]
    if not groups:
        known = {other for group in registry.GROUPS for other in registry.names(group)}
        raise BenchError(f"nothing is called {name!r}", hint=did_you_mean(name, known))
    described = [_described(group, name) for group in groups]
    if json_output:
        print(json.dumps(described[0] if len(described) == 1 else described, indent=2, default=str))
        return
    for component in described:
        _print(component)


def _group(kind: str) -> registry.Group:
    from bench import registry

    for group in registry.GROUPS:
        if kind == group:
            return group
    raise BenchError(f"there are no {kind!r} to list", hint=did_you_mean(kind, registry.GROUPS))


def _described(group: registry.Group, name: str) -> dict[str, Any]:
    from bench import registry
    from bench.options import summarise_options

    component = registry.load(group, name)
    described: dict[str, Any] = {
        "kind": _HEADINGS[group],
        "name": name,
        "summary": getattr(component, "summary", ""),
        "reference": getattr(component, "reference", None),
        "version": getattr(component, "version", None),
        "options": [asdict(option) for option in summarise_options(component.Options)],
    }
    if group == "methods":
        described |= _described_method(component())
    if group == "protocols":
        described["presets"] = component.presets
        described["requires"] = sorted(component.requires)
        described["metrics"] = [asdict(metric) for metric in component.metrics]
    if group == "datasets":
        described["needs_location"] = component.needs_location
    return {key: value for key, value in described.items() if value is not None}


def _described_method(method: Method) -> dict[str, Any]:
    from bench.footprint import footprint
    from bench.options import summarise_options
    from bench.shipped import shipped_entry

    shipped = shipped_entry(method)

    def with_sizes(presets: dict[str, Preset]) -> dict[str, Any]:
        return {
            key: {**asdict(preset), "network": network(preset.options)} for key, preset in presets.items()
        }

    known: dict[str, dict[str, Any] | None] = {}

    def network(overrides: dict[str, Any]) -> dict[str, Any] | None:
        # Most variants change the recipe alone.
        key = json.dumps(overrides, sort_keys=True, default=str)
        if key not in known:
            found = footprint(method, overrides)
            known[key] = asdict(found) if found else None
        return known[key]

    return {
        "network": network({}),
        "stages": list(method.stages),
        "recipe": [asdict(option) for option in summarise_options(method.Recipe)] if method.presets else [],
        "presets": with_sizes(method.presets),
        "default_preset": None if shipped else method.default_preset,
        "shipped": shipped.summary() if shipped else None,
        "variants": with_sizes(method.variants),
        "fetches_weights": method.fetches_weights,
        "learns_from_annotations": method.learns_from_annotations,
        "checkpoint_formats": {known.name: known.summary for known in method.checkpoint_formats},
    }


def _print(component: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    version = f" (version {component['version']})" if "version" in component else ""
    console.print(f"[bold]{escape(component['name'])}[/bold], {component['kind']}{version}")
    console.print(f"  {escape(component['summary'])}", highlight=False)
    if "reference" in component:
        console.print(f"  [dim]{escape(component['reference'])}[/dim]", highlight=False)
    if component.get("needs_location"):
        console.print(f"  Named with a location: {escape(component['name'])}:path/to/folder")
    if component["kind"] == "method":
        _print_method(console, component)
    flags = {"method": "-M", "data set": "-D", "protocol": "-P"}
    flag = flags.get(component["kind"])
    console.print(_options_table(f"options{f' ({flag} key=value)' if flag else ''}", component["options"]))
    if component.get("recipe"):
        console.print(_options_table("pre-training recipe", component["recipe"]))
    if component.get("presets"):
        console.print(_presets_table("preset", component["presets"], component.get("default_preset")))
    if component.get("variants"):
        console.print(_presets_table("variant", component["variants"], None))
    if component.get("metrics"):
        console.print(_metrics_table(component["metrics"]))


def _print_method(console: Console, method: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    network = method.get("network")
    if network:
        features = f", {network['channels']}-d features" if network["channels"] else ""
        grid.add_row(
            "network",
            f"{network['parameters']:,} parameters{features}; image sides are multiples of {network['stride']} "
            "(with the default options)",
        )
        grid.add_row("gives", " and ".join(_GIVES.get(one, one) for one in network["capabilities"]))
    for number, stage in enumerate(method["stages"]):
        grid.add_row("" if number else "stages", escape(stage))
    if method["learns_from_annotations"]:
        grid.add_row("learns", "from annotated images")
    if "shipped" in method:
        grid.add_row("weights", escape(f"shipped with the method, {method['shipped']}"))
    if method["fetches_weights"]:
        grid.add_row("weights", "released ones are fetched once, where none are given")
    for number, (name, summary) in enumerate(method["checkpoint_formats"].items()):
        grid.add_row("" if number else "reads", escape(f"{name}: {summary}"))
    console.print(Padding(grid, (0, 0, 0, 2)), highlight=False)


def _options_table(title: str, options: list[dict[str, Any]]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    if not options:
        return f"no {title}"
    table = Table("option", "type", "default", "what it does", title=title, title_justify="left")
    for option in options:
        default = "(required)" if option["default"] is None else option["default"]
        table.add_row(
            *(escape(text) for text in (option["name"], option["type"], default, option["description"]))
        )
    return table


def _presets_table(kind: str, presets: dict[str, Any], default: str | None) -> Any:
    from rich.markup import escape
    from rich.table import Table

    # A method's presets are networks; a protocol's are options alone.
    sized = all({"summary", "network"} <= preset.keys() for preset in presets.values())
    columns = ["parameters", "features"] if sized else []
    title = "variants, on top of a preset" if kind == "variant" else "presets"
    table = Table(kind, *columns, "what it changes", title=title, title_justify="left")
    for column in table.columns[1:3] if sized else ():
        column.justify, column.no_wrap = "right", True
    for name, preset in presets.items():
        summary = preset.get("summary") if isinstance(preset.get("summary"), str) else None
        changes = {**preset.get("options", {}), **preset.get("recipe", {})} if summary is not None else preset
        listing = ", ".join(f"{key}={json.dumps(value, default=str)}" for key, value in changes.items())
        lines = [escape(summary)] if summary else []
        lines += [f"[dim]{escape(listing)}[/dim]" if summary else escape(listing)] if listing else []
        label = f"{name}\n(trained by default)" if name == default else name
        sizes = _sizes(preset.get("network")) if sized else ()
        table.add_row(escape(label), *sizes, "\n".join(lines) or "the defaults")
    return table


def _sizes(network: dict[str, Any] | None) -> tuple[str, str]:
    if network is None:
        return "—", "—"
    channels = network["channels"]
    count = network["parameters"]
    shown = f"{count / 1e6:.2f} M" if count >= 1e5 else f"{count:,}"
    return shown, f"{channels}-d" if channels else "—"


def _metrics_table(metrics: list[dict[str, Any]]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table("metric", "unit", "better", "definition", title="metrics", title_justify="left")
    for metric in metrics:
        definition = f"{metric['definition']} ({metric['averaging']})"
        table.add_row(
            *(escape(text) for text in (metric["name"], metric["unit"], metric["direction"], definition))
        )
    return table
