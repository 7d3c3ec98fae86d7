"""``bench report``: all records as one HTML page that needs no server and no network."""

from reports.page.report import PageOptions, PageReport

__all__ = ["PageOptions", "PageReport"]
