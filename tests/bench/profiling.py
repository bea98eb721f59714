"""The whole profile of many rows, beside the script that a data person writes by hand.

    python -m tests.bench.profiling [FILE.jsonl] [--rows 100000] [--sample 2000] [--rounds 3] [--folder DIR]

The script goes through a pandas frame row by row: langdetect on instruction and answer, textstat's Flesch-Kincaid grade
of English answers, plain regular expressions for personal data and refusals, lengths, repeats by hash, an estimate of
tokens. That is much less than the profile says (no near duplicates, no checksums, one formula instead of six, three of
its eight checks, none of its thirty measures). It is timed on a sample of the rows, other ones in every round, and its
rate is taken as that of all: it does nothing that would be faster or slower with more rows. `curate profile --json`
reads all of them, with as many cores as there are. Both take turns, each a process of its own. What each takes to start
(imports, word lists; for the profile, all of its time on ten rows) is measured apart and is not part of the rates.

Without a file the rows are made: half English of sentences that this machine's documents have, half Chinese of words as
frequent as jieba's dictionary says; some with code, personal data, refusals and repeats. 1 KB each.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import itertools
import json
import math
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from tests.bench.corpus import default_roots, files

PLANTED = {
    "en": (
        "Call me at (212) 555-0147 or mail jane.doe@gmail.com.",
        "My SSN is 536-32-3065 and the card is 4929 5785 6933 9117.",
        "He was born on March 3, 1991; IBAN GB42HRSI56613285431668.",
    ),
    "zh": (
        "联系人手机13800001234，邮箱ceshi@qq.com。",
        "身份证号110198199003071236，银行卡6200001028156950131。",
        "家住杭州市西湖区虚构路88号3幢501室，微信号：test_abc123。",
    ),
}
REFUSALS = {"en": "I'm sorry, but I can't help with that.", "zh": "很抱歉，我无法回答这个问题。"}
ASKED = {
    "en": ("Explain this: ", "Summarise the following text. ", "What does it mean that ", "Write more about "),
    "zh": ("请解释：", "总结下面的内容。", "这是什么意思：", "请写一篇文章，关于"),
}
PLANTED_SHARE, REFUSED_SHARE, REPEATED_SHARE, CODE_SHARE = 0.02, 0.01, 0.05, 0.06


# ── the rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def english(most: int = 300_000) -> list[str]:
    """Distinct sentences of the documents on this machine."""
    found: dict[str, None] = {}
    for path in files(default_roots()):
        if path.suffix not in (".txt", ".md", ".rst"):
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        for one in re.findall(r"[A-Z][a-z]+ (?:[^\s.!?]{1,20}\s+){4,40}[^\s.!?]{1,20}[.!?](?=\s)", text[:500_000]):
            found[" ".join(one.split())] = None
        if len(found) >= most:
            break
    return list(found)


def programs(most: int = 5_000) -> list[str]:
    """Pieces of source files."""
    found: list[str] = []
    for path in files(default_roots()):
        if path.suffix == ".py":
            blocks = path.read_text(encoding="utf-8", errors="ignore").split("\n\n\n")
            found += [block for block in blocks if 200 < len(block) < 900 and "`" not in block]
        if len(found) >= most:
            break
    return found


def chinese(chance: random.Random) -> Iterator[str]:
    """Sentences without end, of words as frequent as they are."""
    spec = importlib.util.find_spec("jieba")
    assert spec is not None and spec.submodule_search_locations is not None
    dictionary = Path(next(iter(spec.submodule_search_locations))) / "dict.txt"
    entries = [line.split(" ") for line in dictionary.read_text(encoding="utf-8").splitlines()]
    words = [entry[0] for entry in entries]
    weights = list(itertools.accumulate(int(entry[1]) for entry in entries))
    while True:
        many = iter(chance.choices(words, cum_weights=weights, k=50_000))
        while part := list(itertools.islice(many, chance.randint(8, 26))):
            half = len(part) // 2
            yield "".join(part[:half]) + "，" + "".join(part[half:]) + chance.choice("。。。。！？")


def write_rows(path: Path, rows: int) -> None:
    """Rows of about 1 KB, the same every time on one machine."""
    chance = random.Random(11)
    sentences, code, spoken = english(), programs(), chinese(chance)
    last = b""

    def said(lang: str, size: int) -> str:
        pieces, length = [], 0
        while length < size:
            piece = chance.choice(sentences) if lang == "en" else next(spoken)
            pieces.append(piece)
            length += len(piece.encode())
        joints = (" ", " ", " ", "\n\n") if lang == "en" else ("", "", "", "\n")
        return "".join(piece + chance.choice(joints) for piece in pieces).strip()

    with path.open("wb") as out:
        for _ in range(rows):
            lang = chance.choice(("en", "zh"))
            line = last
            if not last or chance.random() >= REPEATED_SHARE:
                answer = said(lang, int(chance.lognormvariate(6.16, 0.7)))
                if chance.random() < PLANTED_SHARE:
                    answer += " " + chance.choice(PLANTED[lang])
                if chance.random() < CODE_SHARE:
                    answer += f"\n\n```python\n{chance.choice(code)}\n```"
                if chance.random() < REFUSED_SHARE:
                    answer = REFUSALS[lang]
                row = {
                    "instruction": chance.choice(ASKED[lang]) + said(lang, chance.randint(20, 120)),
                    "input": said(lang, chance.randint(50, 600)) if chance.random() < 0.3 else "",
                    "output": answer,
                }
                line = orjson.dumps(row) + b"\n"
            out.write(line)
            last = line


# ── the script written by hand ───────────────────────────────────────────────────────────────────────────────────────

PERSONAL = {
    name: re.compile(pattern)
    for name, pattern in {
        "email": r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}\b",
        "url": r"https?://[^\s]+|www\.[^\s]+",
        "ip": r"\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b",
        "ipv6": r"\b(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}\b",
        "mac": r"\b(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\b",
        "us_phone": r"(?:\+?1[-. ]?)?\(?\d{3}\)?[-. ]?\d{3}[-. ]?\d{4}\b",
        "intl_phone": r"\+\d{1,3}[ -]?(?:\d[ -]?){6,12}\d",
        "cn_mobile": r"(?<!\d)(?:\+?86[- ]?)?1[3-9]\d{9}(?!\d)",
        "cn_landline": r"(?<!\d)0\d{2,3}-?\d{7,8}(?!\d)",
        "card": r"\b(?!1\d{12}(?!\d))((4\d{3})|(5[0-5]\d{2})|(6\d{3})|(1\d{3})|(3\d{3}))[- ]?(\d{3,4})[- ]?(\d{3,4})"
        r"[- ]?(\d{3,5})\b",
        "iban": r"\b[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){3,7}(?:[ ]?[A-Z0-9]{1,4})?\b",
        "ssn": r"\b\d{3}[- .]\d{2}[- .]\d{4}\b",
        "itin": r"\b9\d{2}[- ](?:5\d|6[0-5]|7\d|8[0-8]|9[0-24-9])[- ]\d{4}\b",
        "us_passport": r"\b(?:[0-9]{9}|[A-Z][0-9]{8})\b",
        "us_licence": r"\b(?:[A-Z][0-9]{3,6}|[A-Z][0-9]{5,9}|[A-Z]{2}[0-9]{2,5})\b",
        "us_bank": r"\b[0-9]{8,17}\b",
        "uk_nhs": r"\b\d{3}[- ]?\d{3}[- ]?\d{4}\b",
        "uk_nino": r"\b[A-CEGHJ-PR-TW-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b",
        "bitcoin": r"\b(?:bc1|[13])[a-zA-HJ-NP-Z0-9]{25,59}\b",
        "cn_id": r"(?<!\d)[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\d)",
        "cn_bank_card": r"(?<!\d)62\d{14,17}(?!\d)",
        "cn_passport": r"(?<![A-Za-z0-9])[EeGg][A-Za-z]?\d{7,8}(?!\d)",
        "cn_plate": r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-Z][A-Z0-9]{5,6}",
        "cn_uscc": r"(?<![A-Z0-9])[0-9A-HJ-NPQRTUWXY]{2}\d{6}[0-9A-HJ-NPQRTUWXY]{10}(?![A-Z0-9])",
        "cn_account": r"(?:微信号?|QQ号?|qq)[:： ]{0,3}[A-Za-z0-9_-]{5,20}",
        "cn_address": r"[\u4e00-\u9fa5]{2,8}(?:省|市|区|县)[\u4e00-\u9fa5]{1,12}(?:路|街|巷|道)\d{1,5}号",
        "date_of_birth": r"\b\d{1,2}[-/]\d{1,2}[-/](?:19|20)\d{2}\b|\b(?:19|20)\d{2}[-/年]\d{1,2}[-/月]\d{1,2}",
        "api_key": r"\b(?:sk-[A-Za-z0-9]{20,}|AKIA[0-9A-Z]{16}|ghp_[A-Za-z0-9]{36})\b",
        "private_key": r"-----BEGIN (?:RSA |EC |OPENSSH )?PRIVATE KEY-----",
    }.items()
}
REFUSED = re.compile(
    r"(?i)\b(?:i'?m sorry|i apologi[sz]e|i can(?:not|'?t)|i am unable|as an ai)\b"
    r"|很抱歉|对不起|我无法|作为一个?(?:AI|人工智能)"
)
CUT_OFF = re.compile(r"[A-Za-z,，、]$")
WORDS = re.compile(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+")


def by_hand(path: Path, first: int, rows: int) -> dict[str, Any]:
    """What the script finds in some rows, and its seconds: `start`, `rows`, and of those `langdetect`, `textstat`."""
    began = time.perf_counter()
    from tests.bench.readability import give_dictionary

    with tempfile.TemporaryDirectory() as folder:
        give_dictionary(Path(folder))  # without the network textstat has no dictionary of its own
        import langdetect
        import pandas as pd
        import textstat

        langdetect.DetectorFactory.seed = 0
        langdetect.detect("The word lists are read at the first text.")
        textstat.flesch_kincaid_grade("The word lists are read at the first text.")
    started, busy = time.perf_counter(), time.process_time()
    with path.open(encoding="utf-8") as lines:
        frame = pd.DataFrame([json.loads(line) for line in itertools.islice(lines, first, first + rows)])
    seconds = {"langdetect": 0.0, "textstat": 0.0}
    languages: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    chars: list[int] = []
    words: list[int] = []
    tokens: list[int] = []
    grades: list[float] = []
    seen: set[str] = set()

    def language(text: str) -> str:
        begin = time.perf_counter()
        try:
            return str(langdetect.detect(text))
        except langdetect.LangDetectException:
            return "und"
        finally:
            seconds["langdetect"] += time.perf_counter() - begin

    for _, row in frame.iterrows():
        asked = f"{row['instruction']}\n{row['input']}" if row.get("input") else row["instruction"]
        answer = row["output"]
        text = f"{asked}\n{answer}"
        lang = language(answer)
        languages[lang] += 1
        counts["language_mismatch"] += language(asked) != lang
        if lang == "en":
            begin = time.perf_counter()
            grades.append(textstat.flesch_kincaid_grade(answer))
            seconds["textstat"] += time.perf_counter() - begin
        for name, pattern in PERSONAL.items():
            counts[name] += pattern.search(text) is not None
        chars.append(len(text))
        words.append(len(WORDS.findall(text)))
        chinese_chars = sum("\u4e00" <= letter <= "\u9fff" for letter in text)
        tokens.append(math.ceil(chinese_chars * 0.7 + (len(text) - chinese_chars) / 4))
        key = hashlib.sha256(text.strip().lower().encode()).hexdigest()
        counts["repeated"] += key in seen
        seen.add(key)
        counts["refused"] += REFUSED.search(answer) is not None
        counts["cut_off"] += CUT_OFF.search(answer) is not None
        counts["empty"] += not answer.strip()
    told = {
        name: pd.Series(values, dtype="float64").quantile([0.5, 0.95, 0.99]).tolist()
        for name, values in (("chars", chars), ("words", words), ("tokens", tokens), ("grades", grades))
    }
    return {
        "rows": len(frame),
        "found": {"languages": languages, "counts": counts, **told},
        "seconds": {"start": started - began, "rows": time.perf_counter() - started, **seconds},
        "processor_seconds": time.process_time() - busy,
    }


# ── side by side ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Measured(NamedTuple):
    """A process that has ended."""

    seconds: float
    processor_seconds: float
    peak: float
    """Resident memory in MB: of the process, or of the largest of those it started."""
    said: bytes


def measured(command: list[str]) -> Measured:
    """Run a command; what it took and printed."""
    with tempfile.TemporaryFile() as out:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            sys.exit(f"{command} failed")
        out.seek(0)
        return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000, out.read())


def middle(values: list[float]) -> str:
    """A median with the least and the most."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def compare(path: Path, rows: int, sample: int, rounds: int) -> None:
    """Print both rates, their ratio in each round, what each takes to start, and peak memory."""
    few = path.with_name("few.jsonl")
    with path.open("rb") as lines:
        few.write_bytes(b"".join(itertools.islice(lines, 10)))
    profile = [sys.executable, "-m", "curate.cli", "profile", "--json"]
    script = [sys.executable, "-m", "tests.bench.profiling", "--by-hand"]
    wall: list[float] = []
    busy: list[float] = []
    whole: list[float] = []
    for round_ in range(rounds):
        first = round_ * sample % max(rows - sample, 1)
        script_run = measured([*script, str(path), "--first", str(first), "--sample", str(sample)])
        start = measured([*profile, str(few)])
        all_ = measured([*profile, str(path)])
        assert orjson.loads(all_.said)["rows"] == rows
        hand = orjson.loads(script_run.said)
        seconds = hand["seconds"]
        by_hand_row, row = seconds["rows"] / hand["rows"], (all_.seconds - start.seconds) / rows
        wall.append(by_hand_row / row)
        spent = (all_.processor_seconds - start.processor_seconds) / rows
        busy.append(hand["processor_seconds"] / hand["rows"] / spent)
        whole.append((seconds["start"] + by_hand_row * rows) / all_.seconds)
        parts = ", ".join(f"{name} {seconds.get(name, 0) / seconds['rows']:.0%}" for name in ("langdetect", "textstat"))
        print(
            f"  script:  {1000 * by_hand_row:6.2f} ms a row of {hand['rows']:,} ({parts}), "
            f"start {seconds['start']:.1f} s, peak {script_run.peak:,.0f} MB\n"
            f"  profile: {1000 * row:6.2f} ms a row of {rows:,}, start {start.seconds:.1f} s, "
            f"{all_.seconds:.1f} s in all, peak {all_.peak:,.0f} MB ({start.peak:,.0f} MB with ten rows)\n"
            f"  times the script's rate: {wall[-1]:.1f} by the clock, {busy[-1]:.1f} by processor time",
            flush=True,
        )
    print(
        f"a row, start apart: {middle(wall)} times the script's rate by the clock, {middle(busy)} by processor time\n"
        f"from start to end, the script's time on all rows reckoned from its sample: {middle(whole)} times by the clock"
    )


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("file", type=Path, nargs="?", help="rows as {instruction, input, output}, one a line")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--sample", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--by-hand", action="store_true", help="only the script, on a sample from --first on; as JSON")
    chosen = parser.parse_args()
    if chosen.by_hand:
        sys.stdout.buffer.write(orjson.dumps(by_hand(chosen.file, chosen.first, chosen.sample)))
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        path = Path(folder) / "rows.jsonl"
        if chosen.file is None:
            write_rows(path, chosen.rows)
        else:
            with chosen.file.open("rb") as lines:
                path.write_bytes(b"".join(itertools.islice(lines, chosen.rows)))
        with path.open("rb") as lines:
            rows = sum(1 for _ in lines)
        print(f"{rows:,} rows, {path.stat().st_size / 1e6:,.0f} MB, {os.cpu_count()} cores", flush=True)
        compare(path, rows, chosen.sample, chosen.rounds)


if __name__ == "__main__":
    main()
