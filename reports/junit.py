"""The verdicts of a comparison as JUnit XML, which CI servers show as tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from reports.regression import COMPARED, Comparison, Verdict

_FAILURES: tuple[Verdict, ...] = ("worse",)
_ERRORS: tuple[Verdict, ...] = ("failed",)
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(results: Sequence[Comparison], required: Sequence[Verdict] = ()) -> str:
    """A test case for every value: worse is a failure, a run that failed an error, what was not compared is skipped.

    Args:
        required: Verdicts that count as failures as well, where every value of the baseline is asked for.
    """
    suite = ElementTree.Element("testsuite", name="bench check")
    counts = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for result in results:
        kind = _kind(result, required)
        counts["tests"] += 1
        case = ElementTree.SubElement(suite, "testcase", classname=_class(result), name=_name(result))
        if kind is not None:
            counts[kind[0]] += 1
            child = ElementTree.SubElement(case, kind[1], message=_clean(result.sentence()))
            if kind[1] != "skipped":
                child.set("type", result.verdict)
    for name, count in counts.items():
        suite.set(name, str(count))
    root = ElementTree.Element("testsuites", name="bench check")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _kind(result: Comparison, required: Sequence[Verdict]) -> tuple[str, str] | None:
    """(count, element) of what is not simply passed."""
    if result.verdict in (*_FAILURES, *required):
        return "failures", "failure"
    if result.verdict in _ERRORS:
        return "errors", "error"
    return None if result.verdict in COMPARED else ("skipped", "skipped")


def _class(result: Comparison) -> str:
    row = result.row
    return _clean(f"{row['protocol']}.{row['dataset']}.{row['method']}")


def _name(result: Comparison) -> str:
    row = result.row
    parts = (row["metric"], row["condition"], row["weights_label"], f"seed {row['seed']}")
    return _clean(", ".join(part for part in parts if part))


def _clean(text: str) -> str:
    """Without what XML 1.0 cannot hold, escaped or not."""
    return _NOT_XML.sub("�", text)
