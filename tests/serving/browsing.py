"""A real headless Chromium for tests of the page, and a person at its keyboard."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

from stepsight.testing.processes import Served

NEEDED = "STEPSIGHT_NEEDS_CHROMIUM"
"""Set where a missing browser must fail the tests instead of leaving them out."""
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str:
    """The path of an installed Chromium; skips where there is none."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        why = f"no Chromium is installed ({', '.join(_NAMES)}); Debian: apt-get install chromium"
        assert not os.environ.get(NEEDED), why
        pytest.skip(why)
    return found


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser."""
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_QUIET))
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """One page of a server in a browser of its own; what it asked for and complained of is kept."""

    def __init__(
        self, browser: Browser, server: Served, *, width: int = 1280, height: int = 900, **options: str
    ) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height}, **options)  # type: ignore[arg-type]
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.root = server.root
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(f"{server.root}/")

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def ask(self, text: str) -> None:
        """Type a question and press the button."""
        self.page.get_by_label("Question", exact=True).fill(text)
        self.page.get_by_role("button", name="Ask").click()

    def draw(self, seed: int) -> None:
        """Have a picture drawn."""
        self.page.locator("#drawn-seed").fill(str(seed))
        self.page.get_by_role("button", name="Draw").click()
        self.page.locator("#picture img").wait_for()

    def search(self, place: int = 0) -> Locator:
        """One of the answers."""
        return self.page.locator(".search").nth(place)

    def over(self, state: str = "done", place: int = 0) -> Locator:
        """Wait for the end of a search."""
        expect(self.search(place)).to_have_attribute("data-state", state, timeout=60_000)
        return self.search(place)

    def node(self, candidate: int, place: int = 0) -> Locator:
        """A candidate in the tree."""
        return self.search(place).locator(f'.node[data-id="{candidate}"]')

    @property
    def overflows(self) -> bool:
        """Whether the page can be moved sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))
