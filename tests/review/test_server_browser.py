"""The review server's pages in a real browser: people answer in them, and what rows hold is shown and never run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Dialog, Page, expect, sync_playwright

from tests.review.conftest import ReviewServer
from tests.review.forms import asked, labels, made_dataset, put_records

pytestmark = pytest.mark.browser

TIMEOUT_MS = 90_000
HOSTILE = "\n\n".join(
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(2)>",
        "<svg onload=alert(3)></svg>",
        "</script><script>alert(4)</script>",
        "[x](javascript:alert(5))",
        "<iframe srcdoc='<script>alert(6)</script>'></iframe>",
        "{{constructor.constructor('alert(7)')()}} #TEMPLATE# $' $` $&",
        "![](http://127.0.0.1:9/seen.png) <form action='http://127.0.0.1:9/'><button>go</button></form>",
        "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/gone'>",
    ]
)
FIELDS: dict[str, tuple[dict[str, Any], Any]] = {
    "markdown": ({"type": "text", "use_markdown": True}, HOSTILE),
    "plain": ({"type": "text", "use_markdown": False}, HOSTILE),
    "chat": ({"type": "chat", "use_markdown": False}, [{"role": "user", "content": HOSTILE}]),
    "chat_markdown": ({"type": "chat", "use_markdown": True}, [{"role": "user", "content": HOSTILE}]),
    "custom": (
        {"type": "custom", "template": "<b id=shown>{{record.fields.custom.x}}</b>", "advanced_mode": False},
        {"x": HOSTILE},
    ),
}


class Visit:
    """One person's visit to the pages, and what happened in it."""

    def __init__(self, page: Page, server: ReviewServer) -> None:
        self.page = page
        self.server = server
        self.dialogs: list[str] = []
        self.answered: list[str] = []
        page.set_default_timeout(TIMEOUT_MS)
        page.on("dialog", self._dismissed)
        page.on("response", lambda response: self.answered.append(response.url))

    def log_in(self, name: str) -> None:
        self.page.goto(self.server.url)
        self.page.locator("input").first.fill(name)
        self.page.locator("input[type=password]").fill(self.server.password(name))
        self.page.locator("button[type=submit]").click()
        self.page.locator("input[type=password]").wait_for(state="detached")

    def open(self, dataset: str) -> None:
        self.page.goto(f"{self.server.url}/dataset/{dataset}/annotation-mode")
        self.page.locator(".record:visible").first.wait_for()

    def _dismissed(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()


@pytest.fixture
def visit(review_server: ReviewServer) -> Iterator[Visit]:
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield Visit(browser.new_page(viewport={"width": 1400, "height": 900}), review_server)
        browser.close()


def test_an_annotator_answers_in_the_browser_and_sees_the_progress(review_server: ReviewServer, visit: Visit) -> None:
    owner = review_server.client()
    dataset = made_dataset(owner, "seen", questions={"verdict": labels("keep", "drop")})
    put_records(owner, dataset, [{"external_id": str(n), "fields": {"text": f"如何申请退款 {n}"}} for n in range(4)])
    visit.log_in("annotator1")
    visit.open(dataset)
    shown = visit.page.locator(".record:visible").inner_text()

    visit.page.locator("label:visible", has_text="keep").first.click()
    visit.page.get_by_role("button", name="Submit").click()
    expect(visit.page.get_by_text("25.00%").locator("visible=true").first).to_be_visible(timeout=TIMEOUT_MS)

    submitted = {"type": "terms", "scope": {"entity": "response", "property": "status"}, "values": ["submitted"]}
    found = asked(review_server.client("annotator1"), dataset, submitted, mine=True)
    assert [one["record"]["fields"]["text"] in shown for one in found["items"]] == [True]
    assert found["total"] == 1


def test_nothing_in_a_row_is_run_or_fetched(review_server: ReviewServer, visit: Visit) -> None:
    owner = review_server.client()
    datasets = {}
    for field, (settings, value) in FIELDS.items():
        datasets[field] = made_dataset(owner, f"hostile-{field}", fields={field: settings})
        put_records(owner, datasets[field], [{"external_id": "1", "fields": {field: value}}])
    visit.log_in("annotator1")

    shown: dict[str, str] = {}
    for field, dataset in datasets.items():
        visit.open(dataset)
        visit.page.wait_for_timeout(3000)
        shown[field] = "".join(frame.locator("body").inner_text() for frame in visit.page.frames)

    assert visit.dialogs == []
    assert not [url for url in visit.answered if not url.startswith((review_server.url, "data:", "blob:"))]
    assert visit.page.url.startswith(review_server.url)
    for field in ("plain", "chat", "custom"):
        assert "<script>alert(1)</script>" in shown[field], f"{field} shows what it holds as text"
        assert "#TEMPLATE# $' $` $&" in shown[field]
