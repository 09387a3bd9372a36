"""Two raters in two browsers, driven by keyboard, for test_served.py; needs Playwright, so it runs as its own process.

    python two_raters.py <JSON: url of each rater, pictures>

Reads commands from stdin, one JSON a line, and answers each with one JSON line.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

from playwright.sync_api import BrowserContext, Page, sync_playwright

CHROMIUM = os.environ.get("SPORTSKILLS_CHROMIUM", "/usr/bin/chromium")
TURN = "document.querySelector('[data-turn]') && document.querySelector('[data-turn]').dataset.turn"


class Rater:
    """One rater's browser; ``bytes`` counts what the websocket brought."""

    def __init__(self, browser: Any, url: str):
        self.browser, self.url, self.bytes = browser, url, 0
        self.context: BrowserContext
        self.page: Page
        self.open()

    def open(self) -> float:
        start = time.monotonic()
        self.context = self.browser.new_context(viewport={"width": 1280, "height": 860})
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: socket.on("framereceived", self._count))
        self.page.goto(self.url)
        self.page.wait_for_selector(".sk-rater video, .sk-rater .none", timeout=120_000)
        self.page.wait_for_function("document.activeElement.classList.contains('sk-box')", timeout=20_000)
        time.sleep(0.5)
        return time.monotonic() - start

    def _count(self, data: Any) -> None:
        self.bytes += len(data)

    def head(self) -> str:
        return self.page.inner_text("[data-turn]")


def grade_at_once(raters: dict[str, Rater], plan: dict[str, list[int]]) -> dict[str, Any]:
    """Keys of the raters in turns, without waiting for one's answer before the other's key."""
    seconds, sizes = [], []
    for place in range(max(map(len, plan.values()))):
        asked = [name for name in plan if place < len(plan[name])]
        turns = {name: raters[name].page.evaluate(TURN) for name in asked}
        time.sleep(0.45)  # a key within 0.4 s of a new pair is not taken
        start, before = time.monotonic(), {name: raters[name].bytes for name in asked}
        for name in asked:
            raters[name].page.keyboard.press(str(plan[name][place]))
        for name in asked:
            raters[name].page.wait_for_function(f"turn => ({TURN}) !== turn", arg=turns[name], timeout=30_000)
            seconds.append(time.monotonic() - start)
            sizes.append(raters[name].bytes - before[name])
    return {"seconds": seconds, "bytes": sizes, "heads": {name: raters[name].head() for name in plan}}


def answer(raters: dict[str, Rater], asked: dict[str, Any]) -> Any:
    do, rater = asked["do"], raters.get(asked.get("rater", ""))
    if do == "grade":
        return grade_at_once(raters, asked["plan"])
    assert rater is not None
    if do == "press":
        for key in asked["keys"]:
            rater.page.keyboard.press(key)
        return None
    if do == "type":
        rater.page.keyboard.press("c")
        rater.page.wait_for_function("document.activeElement.tagName === 'TEXTAREA'")
        rater.page.keyboard.type(asked["text"])
        rater.page.wait_for_timeout(800)
        rater.page.keyboard.press("Escape")
        return rater.head()
    if do == "vanish":
        rater.context.close()
        return None
    if do == "open":
        return rater.open()
    if do == "reload":
        rater.page.reload()
        rater.page.wait_for_selector(".sk-rater video, .sk-rater .none", timeout=120_000)
        time.sleep(0.8)
        return rater.head()
    if do == "evaluate":
        return rater.page.evaluate(asked["script"])
    if do == "wait":
        rater.page.wait_for_function(asked["script"], timeout=30_000)
        return None
    if do == "requests":
        return rater.requests
    if do == "picture":
        rater.page.screenshot(path=asked["path"])
        return None
    raise ValueError(do)


def main() -> None:
    """Answer commands until stdin ends."""
    urls = json.loads(sys.argv[1])
    threading.Thread(target=lambda: (time.sleep(900), os._exit(3)), daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        raters = {name: Rater(browser, url) for name, url in urls.items()}
        print(json.dumps({name: rater.head() for name, rater in raters.items()}), flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(raters, json.loads(line))), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
