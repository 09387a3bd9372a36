"""Pages in Chromium, driven by lines of JSON; needs Playwright, so its scripts run as processes of
their own.

A script names its kind of page and calls :func:`serve`; tests/browsing.py starts it and sends the
lines.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import BrowserContext, Page, sync_playwright

CHROMIUM = os.environ.get("SPORTSKILLS_CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",  # for root
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
LONGEST_S = 900  # the life of a script that nobody ends


class Tab:
    """One page with cookies of its own. ``bytes``: what websockets brought; ``dialogs``: what
    alerts said.
    """

    size = (1280, 860)

    def __init__(self, browser: Any, url: str):
        self.browser, self.url, self.bytes = browser, url, 0
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self.context: BrowserContext
        self.page: Page
        self.open()

    def open(self) -> float:
        """Open the page anew, as from another computer; seconds until it is ready."""
        start = time.monotonic()
        self.context = self.browser.new_context(
            viewport=dict(zip(("width", "height"), self.size, strict=True))
        )
        self.page = self.context.new_page()
        self.requests = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: socket.on("framereceived", self._count))
        self.page.on("dialog", self._dialog)
        self.page.goto(self.url)
        self.ready()
        return time.monotonic() - start

    def ready(self) -> None:
        """Wait until the page can be used."""

    def _count(self, data: Any) -> None:
        self.bytes += len(data)

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def answer(self, do: str, asked: dict[str, Any]) -> Any:
        """What one line asks for."""
        page = self.page
        if do == "press":
            for key in asked["keys"]:
                page.keyboard.press(key)
        elif do == "type":
            page.keyboard.type(asked["text"])
        elif do == "click":
            page.locator(asked["at"]).first.click()
        elif do == "choose":
            page.locator(asked["at"]).first.select_option(label=asked["label"])
        elif do == "evaluate":
            return page.evaluate(asked["script"])
        elif do == "wait":
            page.wait_for_function(asked["script"], timeout=1000 * asked.get("seconds", 30))
        elif do == "step":
            return self.step(asked["shown"], asked["by"])
        elif do == "requests":
            return self.requests
        elif do == "dialogs":
            return self.dialogs
        elif do == "vanish":
            self.context.close()
        elif do == "open":
            return self.open()
        elif do == "reload":
            page.reload()
            self.ready()
        elif do == "picture":
            page.screenshot(path=asked["path"])
        else:
            raise ValueError(do)
        return None

    def step(self, shown: str, by: dict[str, Any]) -> dict[str, Any]:
        """Do ``by`` and wait until the script ``shown`` gives something else: seconds, bytes, and
        what it gives.
        """
        before, start, came = self.page.evaluate(shown), time.monotonic(), self.bytes
        self.answer(by["do"], by)
        self.page.wait_for_function(f"before => ({shown}) !== before", arg=before, timeout=30_000)
        seconds = time.monotonic() - start
        return {"seconds": seconds, "bytes": self.bytes - came, "shown": self.page.evaluate(shown)}


Answer = Callable[[dict[str, Any], dict[str, Any]], Any]  # pages by name, the line asked


def answer(pages: dict[str, Any], asked: dict[str, Any]) -> Any:
    """What one line asks of the page that it names."""
    return pages[asked["page"]].answer(asked["do"], asked)


def serve(
    kind: type[Tab], answer: Answer = answer, *, first: Callable[[Any], Any] = lambda page: None
) -> None:
    """Open the pages that the first argument names (JSON: name → url), say ``first`` of each, then
    answer lines.

    An answer is [whether it went well, the answer or the error].
    """
    urls = json.loads(sys.argv[1])
    threading.Thread(target=lambda: (time.sleep(LONGEST_S), os._exit(3)), daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        pages = {name: kind(browser, url) for name, url in urls.items()}
        print(json.dumps([True, {name: first(page) for name, page in pages.items()}]), flush=True)
        for line in sys.stdin:
            try:
                told = [True, answer(pages, json.loads(line))]
            except Exception as error:
                told = [False, f"{line.strip()}: {error}"]
            print(json.dumps(told), flush=True)
        browser.close()
