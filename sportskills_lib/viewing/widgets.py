"""The thin interactive shell around the pure views. In a headless run the same content is static HTML.

Callbacks let exceptions out: ipywidgets would otherwise print them where a batch run stays green. :func:`browse` wraps
them so that the error is shown in the widget *and* raised from :meth:`Browser.choose`, which tests drive.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import polars as pl

from sportskills_lib.viewing.retrievals import RetrievalView, arm_name, chosen_cases

if TYPE_CHECKING:
    from IPython.display import HTML


def interactive() -> bool:
    """Whether somebody is looking: a kernel that JupyterLab or Notebook started for a notebook, not a batch run."""
    return "JPY_SESSION_NAME" in os.environ and not os.environ.get("SPORTSKILLS_HEADLESS")


class Browser:
    """Dropdowns for system, sport and query over a :class:`RetrievalView`; ``widget`` is what a notebook displays."""

    def __init__(self, view: RetrievalView, system: str):
        import ipywidgets

        self.view = view
        systems = [(arm_name(name), name) for name in view.systems()]
        self.system = ipywidgets.Dropdown(options=systems, value=system, description="arm")
        self.sport = ipywidgets.Dropdown(options=view.sports(), description="sport")
        self.order = ipywidgets.ToggleButtons(options=["worst first", "best first"])
        self.query = ipywidgets.Dropdown(description="query", layout={"width": "60em"})
        self.output = ipywidgets.HTML()
        self.error: Exception | None = None
        self._filling = False
        for control in (self.system, self.sport, self.order):
            control.observe(self._guarded(self._fill), "value")
        self.query.observe(self._guarded(self._show), "value")
        self.widget = ipywidgets.VBox([ipywidgets.HBox([self.system, self.sport, self.order]), self.query, self.output])
        self._fill()

    def choose(self, **values: Any) -> str:
        """Set controls by name, as a user would, and return the HTML shown; raises what a callback raised."""
        for name, value in values.items():
            getattr(self, name).value = value
            if self.error is not None:
                raise self.error
        return str(self.output.value)

    def _fill(self) -> None:
        first = self.order.value == "worst first"
        asked = self.view.asked(self.system.value, self.sport.value, failures_first=first)
        self._filling = True  # a new list of queries is one change, not several
        self.query.options = [(f"rank {rank}: {text[:90]}", query) for query, text, rank in asked]
        self.query.index = 0 if asked else None
        self._filling = False
        self._show()

    def _show(self) -> None:
        if self._filling:
            return
        chosen = [] if self.query.value is None else [("", self.system.value, self.query.value)]
        self.output.value = self.view.page(chosen)

    def _guarded(self, action: Any) -> Any:
        def run(change: Any) -> None:
            self.error = None
            try:
                action()
            except Exception as error:
                self.error, self._filling = error, False
                self.output.value = "<p><b>This view failed.</b> See the log for the reason.</p>"
                raise

        return run


def browse(view: RetrievalView, picked: pl.DataFrame, system: str) -> Any:
    """The browser in an interactive notebook; the picked cases as static HTML in a headless run."""
    return Browser(view, system).widget if interactive() else static(view, picked, system)


def static(view: RetrievalView, picked: pl.DataFrame, system: str) -> HTML:
    """The same view as a page, for where no widget can run."""
    from IPython.display import HTML

    return HTML(view.page(chosen_cases(picked, system)))
