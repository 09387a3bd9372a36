"""Whether somebody is there to use a widget; without, the same content is static HTML."""

from __future__ import annotations

import os


def interactive() -> bool:
    """Whether somebody is looking: a kernel that JupyterLab or Notebook started for a notebook, not
    a batch run.
    """
    return "JPY_SESSION_NAME" in os.environ and not os.environ.get("SPORTSKILLS_HEADLESS")
