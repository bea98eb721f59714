from __future__ import annotations

import json
from pathlib import Path

import pytest

from curate.facts import disagreements, facts
from schemas.dataset import open_dataset
from tests.helpers import curate_json, write_rows


@pytest.mark.parametrize(
    ("one", "other", "kinds"),
    [
        ("You have 7 days.", "You have 14 days.", {"number"}),
        ("签收后 7 天内可以退。", "签收后15天内可以退。", {"number"}),
        ("３个工作日内处理。", "5 个工作日内处理。", {"number"}),
        ("It costs $1,299.", "It costs $1,199.00.", {"number"}),
        ("现价 899 元。", "现价 ¥999。", {"number"}),
        ("Yes, you can.", "No, you cannot.", {"yes_or_no"}),
        ("可以的，随时都能改。", "不可以，下单后不能改。", {"yes_or_no"}),
        ("支持无线充电。", "很抱歉，不支持。", {"yes_or_no"}),
        ("The sale ends on 2026-03-05.", "The sale ends on 2026/3/8.", {"date"}),
        ("活动到3月5日结束。", "活动到3月8号结束。", {"date"}),
        ("请看《退货政策》。", "请看《换货说明》。", {"title"}),
        ("You have 7 days.", "You have seven calm days.", set()),
        ("You have 7 days.", "It takes 7 days, or 3 hours.", set()),
        ("You have 7 days.", "It costs $7.", set()),
        ("保修 2 年。", "保修2年，电池 1 年。", set()),
        ("Yes, within 7 days.", "Sure, you have 7 days.", set()),
        ("The order number is 20260305.", "The order number is 20260306.", set()),
        ("We ship 5G phones.", "We ship 4G phones.", set()),
        ("不好意思让您久等了，7 天内可以退。", "7 天内可以退。", set()),
        ("It weighs 1.5 kg.", "It weighs 1,5 pounds.", set()),
    ],
)
def test_answers_disagree_only_where_both_state_something(one: str, other: str, kinds: set[str]) -> None:
    assert set(disagreements(facts(one), facts(other))) == kinds
    assert set(disagreements(facts(other), facts(one))) == kinds


def test_long_answers_of_digits_take_linear_time() -> None:
    for text in ("1" * 200_000, "1," * 100_000, "《" * 200_000, "2026年" * 50_000, " " * 200_000):
        facts(text)


def test_agents_who_contradict_each_other_are_shown_side_by_side_and_nothing_is_dropped(tmp_path: Path) -> None:
    question = "Hello, how many days do I have to return the kettle that I bought in your shop last week?"
    rows = [{"instruction": question, "output": f"You have {days} days <img src=x>."} for days in (7, 7, 7, 14)]
    rows += [{"instruction": question.replace("kettle", "lamp"), "output": "You have 7 days from delivery."}]
    write_rows(tmp_path / "rows.jsonl", rows)
    curate_json("import", tmp_path / "rows.jsonl", "--out", tmp_path / "in")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps({"name": "x", "stages": [{"use": "conflicting_answers"}]}))

    found = curate_json("run", recipe, "--input", tmp_path / "in", "--out", tmp_path / "out")

    assert found["rows_out"] == found["rows_in"] == 5
    assert [one["kind"] for one in found["findings"]] == ["conflicting_answers"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    answers = report["conflicts"][0]["answers"]
    assert [one["rows"] for one in answers] == [4, 1]
    assert "7 ≠ 14 day" in answers[1]["about"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "You have 14 days &lt;img src=x&gt;." in page and "<img" not in page


def test_the_minority_is_dropped_when_asked(tmp_path: Path) -> None:
    question = "请问在你们店里买的净化器，收到以后几天之内可以申请无理由退货？"
    rows = [{"instruction": question, "output": f"{days} 天内可以退。"} for days in (15, 7, 7)]
    write_rows(tmp_path / "rows.jsonl", rows)
    curate_json("import", tmp_path / "rows.jsonl", "--out", tmp_path / "in")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps({"name": "x", "stages": [{"use": "conflicting_answers", "drop": "minority"}]}))

    curate_json("run", recipe, "--input", tmp_path / "in", "--out", tmp_path / "out")

    out = open_dataset(tmp_path / "out")
    (gone,) = out.dropped()
    kept = [id_ for frame in out.batches(["id"]) for id_ in frame["id"]]
    because = json.loads(gone["because"][0])
    assert gone["origin"].struct.field("line").to_list() == [1]
    assert because["conflicts_with"] in kept and because["about"] == {"number": "7 ≠ 15 day"}
