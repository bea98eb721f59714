"""Reports in a real browser: what hostile rows hold is shown and never run, and nothing is fetched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Page, Playwright, sync_playwright

from tests.helpers import curate_json, write_rows

pytestmark = pytest.mark.browser

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "<svg onload=alert(3)>",
    "javascript:alert(4)",
    "</style><script>alert(5)</script>",
    "{{ 7*7 }} {% raw %}<iframe src='https://example.com'></iframe>",
    "[x](javascript:alert(6)) ![](http://127.0.0.1:9/x.png)",
]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("reports")
    rows = [{"instruction": text, "output": f"{text} {text}", "task": text} for text in HOSTILE for _ in range(2)]
    rows += [{"instruction": text, "output": ""} for text in HOSTILE]
    write_rows(folder / "<b>rows.jsonl", [*rows, {"instruction": HOSTILE[0]}])
    curate_json("import", folder / "<b>rows.jsonl", "--out", folder / "dataset", "--source", HOSTILE[0])
    curate_json("run", "clean", "--input", folder / "dataset", "--out", folder / "clean")
    curate_json("profile", folder / "dataset", "--report", folder / "profile.html")
    return [folder / "dataset" / "report.html", folder / "clean" / "report.html", folder / "profile.html"]


def started(playwright: Playwright) -> Browser:
    chromium = shutil.which("chromium")
    return playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])


def opened(page: Page, report: Path) -> tuple[list[str], list[str]]:
    """Open a report; the dialogs that came up and the addresses that were asked for."""
    dialogs: list[str] = []
    requests: list[str] = []

    def dismissed(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismissed)
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_timeout(200)
    return dialogs, requests


@pytest.mark.parametrize("number", range(3), ids=["import", "run", "profile"])
def test_nothing_in_a_row_is_run_and_nothing_is_fetched(reports: list[Path], number: int) -> None:
    with sync_playwright() as playwright:
        browser = started(playwright)
        page = browser.new_page()

        dialogs, requests = opened(page, reports[number])

        shown = page.inner_text("body")
        browser.close()
    assert dialogs == []
    assert requests == [reports[number].as_uri()]
    assert "alert(1)" in shown


def test_the_reader_can_switch_the_language_without_scripts(reports: list[Path]) -> None:
    with sync_playwright() as playwright:
        browser = started(playwright)
        page = browser.new_context(java_script_enabled=False).new_page()
        page.goto(reports[2].as_uri())

        page.get_by_text("中文", exact=True).first.click()
        chinese = page.inner_text("body")
        page.get_by_text("English", exact=True).first.click()
        english = page.inner_text("body")
        browser.close()

    assert "语言" in chinese
    assert "语言" not in english
