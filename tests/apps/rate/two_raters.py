"""Two raters in two browsers, driven by keyboard, for test_served.py: see tests/browser_pages.py.

python two_raters.py <JSON: url of each rater>
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
import browser_pages

HEAD = (
    "document.querySelector('.rater .state') && document.querySelector('.rater .state').innerText"
)


class Rater(browser_pages.Tab):
    """One rater's browser."""

    def ready(self) -> None:
        self.page.wait_for_selector(".sk-rater video, .sk-rater .none", timeout=120_000)
        self.page.wait_for_function(
            "document.activeElement.classList.contains('sk-box')", timeout=20_000
        )
        time.sleep(0.5)

    def head(self) -> str:
        return self.page.inner_text(".state")

    def answer(self, do: str, asked: dict[str, Any]) -> Any:
        if do == "comment":
            self.page.keyboard.press("c")
            self.page.wait_for_function("document.activeElement.tagName === 'TEXTAREA'")
            self.page.keyboard.type(asked["text"])
            self.page.wait_for_timeout(800)
            self.page.keyboard.press("Escape")
            return None
        if do == "head":
            return self.head()
        return super().answer(do, asked)


def grade_at_once(raters: dict[str, Rater], plan: dict[str, list[int]]) -> dict[str, Any]:
    """Keys of the raters in turns, without waiting for one's answer before the other's key."""
    seconds, sizes = [], []
    for place in range(max(map(len, plan.values()))):
        asked = [name for name in plan if place < len(plan[name])]
        heads = {name: raters[name].page.evaluate(HEAD) for name in asked}
        time.sleep(0.45)  # a key within 0.4 s of a new pair is not taken
        start, before = time.monotonic(), {name: raters[name].bytes for name in asked}
        for name in asked:
            raters[name].page.keyboard.press(str(plan[name][place]))
        for name in asked:
            raters[name].page.wait_for_function(
                f"head => ({HEAD}) !== head", arg=heads[name], timeout=30_000
            )
            seconds.append(time.monotonic() - start)
            sizes.append(raters[name].bytes - before[name])
    return {
        "seconds": seconds,
        "bytes": sizes,
        "heads": {name: raters[name].head() for name in plan},
    }


def answer(raters: dict[str, Rater], asked: dict[str, Any]) -> Any:
    if asked["do"] == "grade":
        return grade_at_once(raters, asked["plan"])
    return browser_pages.answer(raters, asked)


if __name__ == "__main__":
    browser_pages.serve(Rater, answer, first=Rater.head)
