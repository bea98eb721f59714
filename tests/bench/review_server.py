"""The review server with 50,000 records: what annotators wait for, and ten of them answering at once.

    python -m tests.bench.review_server [RECORDS]

Asserts what is promised: a page of the queue within 200 ms and a text search within 300 ms at the median, and no error
while ten people answer. Text search is measured side by side with a scan of the same table.
"""

from __future__ import annotations

import random
import re
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx

from tests.review.conftest import serving
from tests.review.forms import PENDING, answer, asked, between, labels, made_dataset, put_records, ratings, terms

QUEUE_MS, SEARCH_MS = 200.0, 300.0
PEOPLE, ANSWERS_EACH = 10, 20
ZH = re.findall(
    r"\S+",
    "客户 申请 退款 之后 请 提供 订单 号码 与 支付 凭证 我们 会 在 三个 工作 日 内 完成 谢谢 耐心 发票",
)
EN = re.findall(
    r"\S+", "the customer asks for a refund after the order was delivered late please send your invoice now"
)


def made_records(count: int) -> list[dict[str, Any]]:
    """Pairs to judge, half of them Chinese; every record says its own number, every hundredth something rare."""
    chosen = random.Random(7)
    made = []
    for number in range(count):
        zh = number % 2 == 0
        words, gap = (ZH, "") if zh else (EN, " ")
        texts = [gap.join(chosen.choices(words, k=60)) for _ in range(3)]
        if number % 100 < 2:
            texts[1] += gap + ("违约金" if zh else "chargeback")
        made.append(
            {
                "external_id": f"row-{number}",
                "fields": {
                    "prompt": [{"role": "user", "content": texts[0]}],
                    "a": texts[1],
                    "b": f"{texts[2]} {number}",
                },
                "metadata": {"lang": "zh" if zh else "en", "turns": number % 7, "judge": chosen.random()},
            }
        )
    return made


def timed(work: Callable[[], Any], times: int) -> list[float]:
    """Milliseconds that each of some calls took."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000)
    return taken


def said(name: str, taken: list[float]) -> float:
    """Print and return the median."""
    print(f"{name:44} median {median(taken):7.0f} ms   p95 {quantiles(taken, n=20)[-1]:7.0f} ms")
    return median(taken)


def answering(client: httpx.Client, dataset: str, taken: list[float], errors: list[str]) -> None:
    """One person: looks at the queue, answers what comes first, and again."""
    for _ in range(ANSWERS_EACH):
        try:
            record = asked(client, dataset, PENDING, mine=True, limit=10)["items"][0]["record"]["id"]
            began = time.perf_counter()
            answer(client, record, {"better": random.choice(["a", "b", "tie"])})
            taken.append((time.perf_counter() - began) * 1000)
        except (httpx.HTTPError, IndexError) as error:
            errors.append(repr(error))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / ".assay") as server:
        server.start("--port", "0", "--annotators", str(PEOPLE))
        owner = server.client()
        text = {"type": "text", "use_markdown": True}
        dataset = made_dataset(
            owner,
            "bench",
            fields={"prompt": {"type": "chat", "use_markdown": True}, "a": text, "b": text},
            questions={"better": labels("a", "b", "tie"), "margin": ratings(3)},
            metadata={"lang": "terms", "turns": "integer", "judge": "float"},
            overlap=2,
        )
        began = time.perf_counter()
        put_records(owner, dataset, made_records(count))
        seconds = time.perf_counter() - began
        print(f"{count:,} records pushed in {seconds:.0f} s, {count / seconds:.0f} a second")

        me = server.client("annotator1")
        queue = said("a page of the queue", timed(lambda: asked(me, dataset, PENDING, mine=True, limit=10), 30))
        lang = {"entity": "metadata", "metadata_property": "lang"}
        judge = {"entity": "metadata", "metadata_property": "judge"}
        said("the queue, one language", timed(lambda: asked(me, dataset, PENDING, terms(lang, "zh"), mine=True), 20))
        said("a range of a metadata property", timed(lambda: asked(owner, dataset, between(judge, 0.2, 0.3)), 20))
        said("sorted by a metadata property", timed(lambda: asked(owner, dataset, sort=[(judge, "desc")]), 20))
        said("a user's progress", timed(lambda: me.get(f"/me/datasets/{dataset}/metrics").raise_for_status(), 20))

        db = sqlite3.connect(server.home / "review" / "argilla.db")
        scan = "SELECT count(*) FROM records, json_tree(fields) AS held WHERE instr(held.atom, ?)"
        searches, ratios = [], []
        for words in ("违约金", "chargeback", "退款", "refund", "订单号码", '"late please"', "invoice -refund", "4711"):
            for _ in range(3):
                ours = timed(lambda words=words: asked(owner, dataset, text=words, limit=10), 1)[0]  # type: ignore[misc]
                plain = words.strip('"').split(" -")[0]
                scanned = timed(lambda plain=plain: db.execute(scan, (plain,)).fetchone(), 1)[0]  # type: ignore[misc]
                searches.append(ours)
                ratios.append(scanned / ours)
        db.close()
        search = said("a text search, common and rare words", searches)
        print(f"{'a scan of the table takes':44} median {median(ratios):7.1f} times as long as a search")

        taken: list[float] = []
        errors: list[str] = []
        people = [server.client(f"annotator{number + 1}") for number in range(PEOPLE)]
        threads = [threading.Thread(target=answering, args=(one, dataset, taken, errors)) for one in people]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - began
        said(f"an answer, {PEOPLE} people at once", taken)
        print(f"{len(taken)} answers in {seconds:.0f} s, {len(taken) / seconds:.1f} a second, {len(errors)} errors")

        assert not errors, errors[:3]
        assert len(taken) == PEOPLE * ANSWERS_EACH
        assert queue < QUEUE_MS, queue
        assert search < SEARCH_MS, search


if __name__ == "__main__":
    main()
