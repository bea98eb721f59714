"""The pair form in a real browser: readable side by side, answered with the keyboard, and deaf to hostile rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from review.backend import Access
from review.labels import pull
from review.pushing import Push, push
from review.queue import Choice
from review.votes import read_votes
from tests.review.conftest import ReviewServer
from tests.review.made import pair, write_dataset

CHROMIUM = "/usr/bin/chromium"
HOSTILE = "\n".join(
    [
        "</script><script>parent.TAKEN = 1; window.TAKEN = 1</script>",
        "<img src=x onerror='parent.TAKEN = 1'>",
        "<!--<script>",
        "{{{record}}} {{#each record}}{{constructor}}{{/each}}",
        "$& $' $` $$ #TEMPLATE# #RECORD_OBJECT#",
        "[click](javascript:parent.TAKEN=1)",
    ]
)


@pytest.mark.browser
@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="chromium is not installed")
def test_a_hostile_pair_is_shown_as_it_is_and_can_be_answered(review_server: ReviewServer, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    good = f"# Title\n```python\nprint('</script>')\n```\n- item\n{HOSTILE}"
    rows = [pair(f"question\n{HOSTILE}", good, f"other\n{HOSTILE}")]
    dataset = write_dataset(tmp_path / "d", "preference", rows, task=HOSTILE[:60])
    access = Access(review_server.home)
    pushed = push(Push(dataset, "pairs", Choice(), name="form", overlap=1), access)
    page_of = f"{review_server.url}/dataset/{pushed['place']['dataset']}/annotation-mode?_page=1&_status=pending"

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.goto(f"{review_server.url}/sign-in")
        page.fill("input[type=text], input[name=username]", "annotator1")
        page.fill("input[type=password]", review_server.password("annotator1"))
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "sign-in" not in url)
        page.goto(page_of)
        frame = page.frame_locator("iframe").first
        frame.locator(".r-answer").nth(1).wait_for()
        shown = frame.locator("body").inner_text().replace("\u2060", "")
        boxes = [frame.locator(".r-answer").nth(place).bounding_box() for place in (0, 1)]
        frames = "[...document.querySelectorAll('iframe')].map(frame => frame.contentWindow.TAKEN)"
        taken = page.evaluate(f"[window.TAKEN, ...{frames}]")
        page.get_by_text("Both are bad", exact=True).click()
        with page.expect_response(
            lambda answer: "/responses" in answer.url and answer.request.method == "POST"
        ) as sent:
            page.get_by_text("Submit", exact=True).first.click()
        assert sent.value.ok
        browser.close()

    pull("form", tmp_path / "labels", access)
    assert [one for one in taken if one] == []
    assert all(shown.count(line) == 3 for line in HOSTILE.split("\n"))
    assert "print('</script>')" in shown
    left, right = boxes
    assert left is not None and right is not None
    assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
    assert [vote.value for vote in read_votes(tmp_path / "labels").votes["better"]] == ["both_bad"]
