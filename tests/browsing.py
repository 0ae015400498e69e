"""A real browser for tests of pages: Debian's chromium by playwright, and what a page did that it must not do."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def browser() -> Iterator[Any]:
    """A headless chromium; the test is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
    if not CHROMIUM:
        pytest.skip("there is no chromium here: apt-get install chromium")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def page_at(browser: Any, address: str, *, allowed: str = "", **context: Any) -> Iterator[Any]:
    """A page that is ready; it must neither complain nor ask for anything but itself.

    Args:
        browser: Of `browser`.
        address: Of the page.
        allowed: Beginning of addresses that may be asked for besides.
        context: What the browser is like: `viewport`, `color_scheme`.
    """
    surroundings = browser.new_context(**{"viewport": {"width": 1600, "height": 1000}} | context)
    page, wrong = surroundings.new_page(), []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    own = (address, "blob:", *([allowed] if allowed else []))
    page.on("request", lambda request: None if request.url.startswith(own) else wrong.append(f"asks {request.url}"))
    page.goto(address)
    page.wait_for_selector("[data-ready=true]", state="attached", timeout=30_000)
    yield page
    settle(page)
    surroundings.close()
    assert wrong == [], wrong


def settle(page: Any) -> None:
    """Wait until what was changed is drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def address_of(file: Path) -> str:
    """The address of a file."""
    return file.resolve().as_uri()
