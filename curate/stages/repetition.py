"""Answers that do not repeat themselves."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.stage import Field, Filter, Setting, drop, keep

_OUTSIDE = r"(?s)```.*?(?:```|\z)"
_SLICE_CHARS = 500_000  # how much text is worked on at once: 30 MB of numbers
_LONGEST_PHRASE = 12
_LINE_LETTERS = 6  # lines with fewer letters (rules, brackets, rows of numbers) may come again
_ASKS_FOR_IT = (
    r"(?i)\brepeat|\brepetit|\btimes\b|\blyrics?\b|\bpoems?\b|\bsongs?\b|\bchorus\b|\brhym|\btwister"
    r"|\bmantra|\bchant|\bascii\b|\bpattern\b"
    r"|重复|循环|歌词|歌曲|首歌|诗|副歌|绕口令|顺口溜|排比|遍|图案|叠词|儿歌|口号"
)

_REASONS = ("one_phrase_over_and_over", "repeated_lines", "repeated_phrases")

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


class Repetition(Filter):
    """Drop rows whose answer repeats itself: lines, long phrases, or one phrase over and over.

    After the rules of Gopher (Rae et al. 2021, https://arxiv.org/abs/2112.11446, table A1), made for web pages;
    answers are short and their lists alike, so the limits are wider. A Chinese character or an emoji counts as a word.
    """

    field: Field = Setting(default="answer", description="the text that is looked at; code blocks in it are not")
    min_words: int = Setting(default=50, ge=1, description="shorter texts stay, unless one phrase runs on in them")
    max_line_share: float = Setting(
        default=0.4, ge=0, le=1, description="largest share of characters in lines that stood there before, 0 to 1"
    )
    max_top_share: float = Setting(
        default=0.4, ge=0, le=1, description="largest share of characters in the commonest phrase of four words, 0 to 1"
    )
    max_repeated_share: float = Setting(
        default=0.5,
        ge=0,
        le=1,
        description="largest share of characters in phrases of ten words that came before, 0 to 1",
    )
    max_run_words: int = Setting(
        default=24, ge=2, description="most words that one phrase, said over and over without a break, may fill"
    )

    examples = (
        drop(
            "repeated_lines",
            instruction="Give me tips.",
            answer="\n".join(
                [
                    "Drink enough water every single day, whatever the weather may be like.",
                    "Sleep well and rise early, as the old people used to say.",
                ]
                * 4
            ),
        ),
        drop(
            "repeated_lines",
            instruction="给我一些建议",
            answer="\n".join(
                [
                    "每天都要喝足够的水，保持身体健康，不要等到口渴才喝水。",
                    "早睡早起身体好，晚上不要玩手机，注意保护眼睛。",
                ]
                * 4
            ),
        ),
        drop(
            "one_phrase_over_and_over",
            instruction="What is love?",
            answer="Love is " + "a very good thing and " * 12 + "that is all.",
        ),
        drop(
            "one_phrase_over_and_over", instruction="介绍一下北京", answer="北京是一座" + "历史悠久的" * 12 + "城市。"
        ),
        drop("one_phrase_over_and_over", instruction="好吗？", answer="好" * 40),
        drop(
            "repeated_phrases",
            instruction="Tell me about tea.",
            answer=" ".join(
                (
                    f"In {place}, people say that tea is the best drink in the world and that nothing "
                    f"else comes close to it."
                )
                for place in ("China", "Japan", "India", "Kenya", "Turkey")
            ),
        ),
        drop(
            "repeated_phrases",
            instruction="说说茶",
            answer="".join(
                f"在{place}，人们都说茶是世界上最好的饮料，没有什么能够与它相比。"
                for place in ("中国", "日本", "印度", "英国", "土耳其")
            ),
        ),
        keep(
            instruction="Give me tips.",
            answer=(
                "Drink enough water every day. Sleep well and rise early. Walk to work when you "
                "can, and take the stairs. Eat plenty of greens, and do not forget to laugh with "
                "your friends, for laughing is known to keep people well for longer than any pill "
                "that you can buy."
            ),
        ),
        keep(
            instruction="给我一些建议",
            answer="每天喝足够的水，早睡早起。上班尽量步行，多走楼梯，少坐电梯。多吃蔬菜水果，少吃油炸食品。别忘了和朋友们一起欢笑，因为欢笑比任何药物都更能让人保持健康和快乐，这是大家都知道的道理。",
        ),
        drop("one_phrase_over_and_over", instruction="Thanks!", answer="🎉🥳🎊" * 12),
        keep(instruction="How was it?", answer="Great! 🎉🎉🎉🎉🎉"),
        keep(instruction="What a joke!", answer="Ha ha ha ha ha! Very good."),
        keep(instruction="真好笑", answer="哈哈哈哈哈哈哈哈哈哈，太好笑了。"),
        keep(instruction="Say 'never' thirty times.", answer="never " * 30),
        keep(instruction="把“加油”重复二十遍", answer="加油" * 20),
        keep(instruction="Print a matrix of zeros.", answer="0 0 0 0 0 0 0 0\n" * 8),
        keep(instruction="写一个循环", answer="```c\n" + "x = x + 1; // 加一\n" * 20 + "```"),
    )

    def reasons(self) -> dict[str, pl.Expr]:
        verdict = self._text().map_batches(self._verdicts, return_dtype=pl.Int8, is_elementwise=True)
        allowed = self.text("instruction").str.contains(_ASKS_FOR_IT).fill_null(False)
        return {reason: (verdict == place) & ~allowed for place, reason in enumerate(_REASONS, 1)}

    def _verdicts(self, texts: pl.Series) -> pl.Series:
        """Place of the reason in _REASONS, from 1; 0 where there is none."""
        long = pl.col("words") >= self.min_words
        verdict = (
            pl.when(pl.col("run") > self.max_run_words)
            .then(1)
            .when(long & (pl.col("lines") > self.max_line_share))
            .then(2)
            .when(long & ((pl.col("top") > self.max_top_share) | (pl.col("repeated") > self.max_repeated_share)))
            .then(3)
            .otherwise(0)
        )
        return measures(texts).struct.unnest().select(verdict.cast(pl.Int8)).to_series()

    def because(self) -> dict[str, pl.Expr]:
        measured = self._text().map_batches(measures, return_dtype=_MEASURES, is_elementwise=True)

        def percent(name: str) -> pl.Expr:
            return (measured.struct.field(name) * 100).round().cast(pl.Int64)

        return {
            "one_phrase_over_and_over": pl.format("one phrase fills {} words", measured.struct.field("run")),
            "repeated_lines": pl.format("{} % in lines that stood there before", percent("lines")),
            "repeated_phrases": pl.format(
                "{} % in phrases that came before, {} % in the commonest", percent("repeated"), percent("top")
            ),
        }

    def _text(self) -> pl.Expr:
        return self.text(self.field).str.replace_all(_OUTSIDE, "\n")


_MEASURES = pl.Struct(
    {"words": pl.Int64, "run": pl.Int64, "lines": pl.Float64, "top": pl.Float64, "repeated": pl.Float64}
)


def measures(texts: pl.Series) -> pl.Series:
    """How often each text repeats itself.

    - words: how many it has, numbers not counted; a Chinese or Japanese character is one
    - run: words of the longest stretch in which one phrase, of at most twelve words, is said five times or more
    - lines, top, repeated: shares of characters, as the settings of `Repetition` say them
    """
    whole = texts.fill_null("")
    parts, start, size = [], 0, 0
    for row, chars in enumerate(whole.str.len_chars().to_list()):
        size += chars + 1
        if size > _SLICE_CHARS:
            parts.append(_slice_measures(whole[start : row + 1]))
            start, size = row + 1, 0
    parts.append(_slice_measures(whole[start:]))
    return pl.concat(parts).to_struct(texts.name).cast(_MEASURES)


def _slice_measures(texts: pl.Series) -> pl.DataFrame:
    rows = len(texts)
    # Texts end to end, one line end between; every number below has one entry for a character, then one for a word.
    joined = "\n".join(texts.to_list())
    chars = np.frombuffer(joined.encode("utf-32-le"), dtype=np.uint32)
    lengths = texts.str.len_chars().to_numpy().astype(np.int64)
    row_of_char = np.repeat(np.arange(rows), lengths + 1)[: len(chars)]

    starts, ends = _words(chars)
    numbers = (chars[starts] >= ord("0")) & (chars[starts] <= ord("9"))  # tables and matrices repeat themselves rightly
    starts, ends = starts[~numbers], ends[~numbers]
    hashes = _spans(chars, starts, ends)
    row, size = row_of_char[starts], ends - starts
    words = np.bincount(row, minlength=rows)
    total = np.maximum(np.bincount(row, weights=size, minlength=rows), 1)

    four = _phrases(hashes, row, 4)
    times = _times(four)
    place = np.arange(len(four))
    phrase_size = _phrase_sizes(size, 4)[: len(four)]
    top = np.zeros(rows)
    np.maximum.at(top, row[place][times > 1], (times * phrase_size)[times > 1])

    # Only where phrases of four words come back can phrases of ten.
    suspects = np.bincount(row[place], weights=(times > 1) * size[place], minlength=rows) > 0.2 * total
    chosen = suspects[row]
    some_row, some_size = row[chosen], size[chosen]
    again = ~pl.Series(_phrases(hashes[chosen], some_row, 10)).is_first_distinct().to_numpy()
    repeated = np.bincount(some_row, weights=_covered(again, len(some_row), 10) * some_size, minlength=rows)
    lines = _lines(chars, row_of_char, rows)
    return pl.DataFrame(
        {
            "words": words.astype(np.int64),
            "run": _runs(hashes, row, rows, times, place),
            "lines": lines,
            "top": np.minimum(top / total, 1),
            "repeated": repeated / total,
        }
    )


@cache
def _classes() -> npt.NDArray[np.uint8]:
    """Class of each character: 0 is between words, 1 part of a word, 2 a word of its own."""
    points = pl.Series(list(range(0x30000)), dtype=pl.UInt32)
    texts = pl.Series(["" if 0xD800 <= point < 0xE000 else chr(point) for point in points])
    alone = texts.str.contains(r"[\p{Han}\p{Hiragana}\p{Katakana}\u{1F300}-\u{1FAFF}]").to_numpy()
    within = texts.str.contains(r"[\p{L}\p{M}\p{N}]").to_numpy()
    return np.where(alone, 2, within).astype(np.uint8)


def _kinds(chars: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    classes = _classes()
    return np.asarray(classes[np.minimum(chars, len(classes) - 1)])


def _words(chars: npt.NDArray[np.uint32]) -> tuple[Ints, Ints]:
    kind = _kinds(chars)
    before = np.concatenate([np.zeros(1, dtype=np.uint8), kind[:-1]])
    after = np.concatenate([kind[1:], np.zeros(1, dtype=np.uint8)])
    starts = np.flatnonzero((kind == 2) | ((kind == 1) & (before != 1)))
    ends = np.flatnonzero((kind == 2) | ((kind == 1) & (after != 1))) + 1
    return starts, ends


_BASE = 0x9E3779B97F4A7C15


def _mixed(values: Hashes) -> Hashes:
    values = (values ^ (values >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return np.asarray(values ^ (values >> np.uint64(29)), dtype=np.uint64)


def _spans(chars: npt.NDArray[np.uint32], starts: Ints, ends: Ints) -> Hashes:
    """64-bit hash of each span of characters: equal spans have equal hashes, wherever they are."""
    power = np.full(len(chars) + 1, _BASE, dtype=np.uint64)
    inverse = np.full(len(chars) + 1, pow(_BASE, -1, 1 << 64), dtype=np.uint64)
    power[0] = inverse[0] = 1
    np.cumprod(power, out=power)
    np.cumprod(inverse, out=inverse)
    sums = np.zeros(len(chars) + 1, dtype=np.uint64)
    np.cumsum(_mixed(chars.astype(np.uint64) + np.uint64(1)) * power[:-1], out=sums[1:])
    return _mixed((sums[ends] - sums[starts]) * inverse[starts])


def _phrases(hashes: Hashes, row: Ints, length: int) -> Hashes:
    """Hash of the phrase of `length` words that starts at each word, told apart by row.

    Near a row's end it is a phrase that no other equals."""
    count = max(len(hashes) - length + 1, 0)
    total = np.zeros(count, dtype=np.uint64)
    for place in range(length):
        total = total * np.uint64(_BASE) + hashes[place : place + count]
    own = _mixed(row[:count].astype(np.uint64) + np.uint64(7))
    crosses = row[:count] != row[length - 1 : length - 1 + count]
    return np.where(crosses, _mixed(np.arange(count, dtype=np.uint64) + np.uint64(1 << 40)), _mixed(total ^ own))


def _times(phrases: Hashes) -> Ints:
    """How often each phrase is there."""
    frame = pl.DataFrame({"phrase": phrases})
    return frame.select(pl.len().over("phrase")).to_series().to_numpy().astype(np.int64)


def _phrase_sizes(size: Ints, length: int) -> Ints:
    sums = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(size)])
    return np.asarray(sums[length:] - sums[:-length])


def _covered(again: npt.NDArray[np.bool_], words: int, length: int) -> npt.NDArray[np.bool_]:
    """Which words lie in a phrase that came before."""
    change = np.zeros(words + 1, dtype=np.int64)
    places = np.flatnonzero(again)
    np.add.at(change, places, 1)
    np.add.at(change, places + length, -1)
    return np.asarray(np.cumsum(change)[:-1] > 0)


def _runs(hashes: Hashes, row: Ints, rows: int, times: Ints, place: Ints) -> Ints:
    """Words in the longest stretch, in each row, that says one phrase over and over."""
    longest = np.zeros(rows, dtype=np.int64)
    # A phrase of at most twelve words said five times brings each of its phrases of four words five times, or four.
    suspects = np.bincount(row[place], weights=times >= 4, minlength=rows) > 0
    chosen = suspects[row]
    hashes, row = hashes[chosen], row[chosen]
    for length in range(1, _LONGEST_PHRASE + 1):
        same = (hashes[length:] == hashes[:-length]) & (row[length:] == row[:-length])
        edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
        begins, stops = edges[::2], edges[1::2]
        run = stops - begins + length
        enough = run >= 5 * length
        np.maximum.at(longest, row[begins[enough]], run[enough])
    return longest


def _lines(chars: npt.NDArray[np.uint32], row_of_char: Ints, rows: int) -> npt.NDArray[np.float64]:
    """Share of each row's characters that lie in lines which stood there before."""
    breaks = np.flatnonzero(chars == ord("\n"))
    starts = np.concatenate([np.zeros(1, dtype=np.int64), breaks + 1])
    ends = np.concatenate([breaks, [len(chars)]])
    letters = np.zeros(len(chars) + 1, dtype=np.int64)
    np.cumsum((_kinds(chars) > 0) & ((chars < ord("0")) | (chars > ord("9"))), out=letters[1:])
    prose = letters[ends] - letters[starts] >= _LINE_LETTERS
    starts, ends = starts[prose], ends[prose]
    if not len(starts):
        return np.zeros(rows)
    row, size = row_of_char[starts], ends - starts
    key = _mixed(_spans(chars, starts, ends) ^ _mixed(row.astype(np.uint64) + np.uint64(7)))
    again = ~pl.Series(key).is_first_distinct().to_numpy()
    total = np.maximum(np.bincount(row, weights=size, minlength=rows), 1)
    return np.asarray(np.bincount(row, weights=size * again, minlength=rows) / total)
