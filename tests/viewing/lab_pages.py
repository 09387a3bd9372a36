"""A notebook in JupyterLab, driven by keys and mouse, for test_lab.py: see tests/browser_pages.py.

python lab_pages.py <JSON: name → url of a notebook>
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from playwright.sync_api import TimeoutError

sys.path.insert(0, str(Path(__file__).parents[1]))
import browser_pages

PROMPTS = (
    "[...document.querySelectorAll('.jp-Notebook .jp-InputPrompt')].map(prompt => "
    "prompt.textContent)"
)


class Lab(browser_pages.Tab):
    """JupyterLab with one notebook open and the file browser put away."""

    size = (1320, 1000)

    def ready(self) -> None:
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=120_000)
        self.page.wait_for_selector(
            '.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=120_000
        )
        self.page.keyboard.press("Control+b")

    def menu(self, name: str, entry: str) -> None:
        self.page.locator(".lm-MenuBar-itemLabel", has_text=name).first.click()
        self.page.locator(".lm-Menu-itemLabel", has_text=entry).first.click()

    def ran(self, cells: Iterable[int], before: list[str], *, seconds: int = 90) -> None:
        """Wait until these cells have other numbers than before."""
        new = (
            f"([cells, old]) => cells.every(at => /[0-9]/.test({PROMPTS}[at]) && "
            f"{PROMPTS}[at] !== old[at])"
        )
        self.page.wait_for_function(new, arg=[list(cells), before], timeout=1000 * seconds)

    def answer(self, do: str, asked: dict[str, Any]) -> Any:
        if do == "menu":
            self.menu(asked["name"], asked["entry"])
        elif do == "accept":
            self.page.locator(".jp-Dialog button.jp-mod-accept").first.click()
        elif do == "run cell":
            at, before = asked["number"], self.page.evaluate(PROMPTS)
            self.page.locator(".jp-Notebook .jp-Cell").nth(at).locator(
                ".jp-InputArea-editor"
            ).click()
            self.page.keyboard.press("Control+Enter")
            self.ran([at], before)
        elif do == "run all":
            self.menu(
                "Edit", "Clear Outputs of All Cells"
            )  # and their numbers, which begin anew with a new kernel
            before = self.page.evaluate(PROMPTS)
            for _ in range(5):  # JupyterLab forgets what is asked while it connects to the kernel
                self.menu("Run", "Run All Cells")
                with suppress(TimeoutError):
                    self.ran([0], before, seconds=20)
                    break
            self.ran(range(len(before)), before)
            self.page.wait_for_timeout(1000)
        else:
            return super().answer(do, asked)
        return None


if __name__ == "__main__":
    browser_pages.serve(Lab)
