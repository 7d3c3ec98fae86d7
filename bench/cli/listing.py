"""``bench list`` and ``bench show``: what there is, and what one of them can do."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from bench import registry
from bench.cli.common import Json
from bench.errors import BenchError, did_you_mean

_HEADINGS: dict[registry.Group, str] = {
    "methods": "method",
    "datasets": "data set",
    "protocols": "protocol",
    "reports": "report",
}


def list_(
    kind: Annotated[
        str | None, typer.Argument(metavar="[methods|datasets|protocols|reports]", help="Only these.")
    ] = None,
    json_output: Json = False,
) -> None:
    """List methods, data sets, protocols and reports, one line each.

    Examples:

      bench list

      bench list methods
    """
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


def show(
    name: Annotated[str, typer.Argument(help="A method, data set, protocol or report; see: bench list.")],
    json_output: Json = False,
) -> None:
    """Show what one component is, its presets, options with defaults, and metrics.

    Examples:

      bench show lead

      bench show fewshot --json
    """
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
    for group in registry.GROUPS:
        if kind == group:
            return group
    raise BenchError(f"there are no {kind!r} to list", hint=did_you_mean(kind, registry.GROUPS))


def _described(group: registry.Group, name: str) -> dict[str, Any]:
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
        described["recipe"] = [asdict(option) for option in summarise_options(component.Recipe)]
        described["presets"] = {key: asdict(preset) for key, preset in component.presets.items()}
        described["default_preset"] = component.default_preset
    if group == "protocols":
        described["presets"] = component.presets
        described["requires"] = sorted(component.requires)
        described["metrics"] = [asdict(metric) for metric in component.metrics]
    if group == "datasets":
        described["needs_location"] = component.needs_location
    return {key: value for key, value in described.items() if value is not None}


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
    flags = {"method": "-M", "data set": "-D", "protocol": "-P"}
    flag = flags.get(component["kind"])
    console.print(_options_table(f"options{f' ({flag} key=value)' if flag else ''}", component["options"]))
    if component.get("recipe"):
        console.print(_options_table("pre-training recipe", component["recipe"]))
    if component.get("presets"):
        console.print(_presets_table(component["presets"], component.get("default_preset")))
    if component.get("metrics"):
        console.print(_metrics_table(component["metrics"]))


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


def _presets_table(presets: dict[str, Any], default: str | None) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table("preset", "what it changes", title="presets", title_justify="left")
    for name, preset in presets.items():
        summary = preset.get("summary") if isinstance(preset.get("summary"), str) else None
        changes = {**preset.get("options", {}), **preset.get("recipe", {})} if summary is not None else preset
        listing = ", ".join(f"{key}={json.dumps(value, default=str)}" for key, value in changes.items())
        lines = [line for line in (summary, listing) if line]
        label = f"{name} (default)" if name == default else name
        table.add_row(escape(label), escape("\n".join(lines) or "the defaults"))
    return table


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
