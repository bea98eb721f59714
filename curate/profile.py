"""What is in a set of rows: counts, lengths, languages, repeats, flaws and what to do about them.

A profile is a JSON-able dict. Everything in it that came from a row (examples, names of tasks, sources and languages)
has passed `schemas.excerpt`; HTML is escaped where it is written. The keys, all present in every profile:

    rows            number of rows
    clean_rows      rows in which none of the checks found anything (see `verdicts`)
    bytes           size of the input files in bytes, or null when the caller did not say
    text_bytes      size of every row's text in UTF-8 bytes
    files           number of input files, or null
    formats         {format: rows}, as the caller told
    kinds           {kind of row: rows}
    turns           {number of messages, "20+" at most: rows}
    roles           {role: messages}
    languages       {code: rows}; "und" where undecided
    languages_by_role  {role: {code: messages that say something}}, whatever the rows say their language is
    rows_in_several_languages  rows whose messages are surely in two languages or more; one in zh-en is in both, and
                    program text in none
    tasks, sources  {name: rows}, largest first, at most 40 and then "(other)"; rows without a task are "(none)"
    lengths         {field: {rows, min, p50, p95, p99, max, mean}} in characters; rows: how many have the field
    words           the same in words: a CJK ideograph or kana is a word, else a run of letters and digits
    tokens          the same in tokens; without a tokenizer only for `conversation`, and estimated
    token_counts    {estimated: bool, by: what counted them}
    histograms      {field: {unit: {edges: n+1 ascending integers, counts: n, zero: rows of length 0}}}; bins are
                    log-spaced, bin i holds edges[i] <= length < edges[i+1]; unit: characters, words, tokens
    groups          {task | source | language: [{name, rows, lengths {field: as above}, histograms {field: {edges,
                    counts, zero}}}]}, the 8 largest and "(other)", in characters
    sequences       {estimated, over: {"1024": rows, "2048": …, "4096": …, "8192": …}: rows longer than so many tokens,
                    window: null, or what rows longer than the model's window are: see `curate.tokens.beyond`}
    checks          {check: rows}: empty, exact_duplicates, refusal, boilerplate, truncated, placeholder, repetition,
                    language_mismatch; a row may be found by several
    verdicts        {check: rows, …, clean: rows}: each row once, under the first check that found it; sums to `rows`
    duplicates      {exact: rows that repeat another, near: rows nearly or wholly the same as one that would stay; null
                    where there are too many rows to look}
    examples        {check or type of identifier: [{id, where "file:line", instruction, excerpt, because}]}; because:
                    what was measured, or the reason's name; `{"kept": id}` for a row that repeats another
    repeated        {instructions: [{excerpt, rows}], openings: [{excerpt, rows}]}: the ten that are repeated most
    personal_data   {type: rows holding one}, found as the stage `personal_data` finds them; types: `curate scrub`
    personal_data_rows  rows holding any of them but secrets
    names_looked_for    whether names of people are among them
    measures        numbers, yes, not_measured: see `curate.signals`
    verbs           null, or what instructions ask for: see `curate.complexity`
    preference      null, or {pairs, longer: pairs whose chosen answer is longer, shorter, identical}
    rejected        {reason: n}: input that never became a row
    rejected_examples [{reason, file, line, excerpt}]
    findings        [{kind, severity high|medium|low, count, share of rows, example (as in examples, or null), fix,
                    use: the stage that mends it, or null, settings: those it needs to be given}], most severe first,
                    and of these what does most harm
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.complexity import Verbs
from curate.languages import CONVERSATION, NOT_ONE_LANGUAGE, guesses_once, prose, turns
from curate.marks import summarise, with_fields
from curate.personal_data.counting import SECRET, Counting
from curate.showing import NOTHING, example_rows, where
from curate.signals import Signals, Values
from curate.stage import FIELD_PREFIX, Choice, Compare, Filter, Stage
from curate.stages.detect_language import DetectLanguage
from curate.stages.language_mismatch import LanguageMismatch
from curate.tokens import TokenCounter, Window, beyond, load_tokenizer, window_of
from schemas.chat import ANSWER_MARK, TURNS, Field, field
from schemas.excerpt import excerpt
from schemas.lookup import find

Profile = dict[str, Any]
"""What `Profiler.result` gives; the keys are in the module's docstring."""

CHECKS = ("empty", "refusal", "boilerplate", "truncated", "placeholder", "repetition", "language_mismatch")
"""Stages whose reasons are counted, with their default settings: the profile and a run cannot disagree."""

MISMATCH = "language_mismatch"
DUPLICATES = "exact_duplicates"
NEAR = "near_duplicates"

NEAR_SHINGLES = 50_000_000
"""Near duplicates are counted among rows of up to so many shingles together, which take 400 MB; `curate dedup` has no
such limit."""

SEQUENCE_LIMITS = (1024, 2048, 4096, 8192)
TOP_GROUPS = 8
TOP_REPEATS = 10
NAMES_SHOWN = 40

LATIN_CHARS_PER_TOKEN = 4.0
CJK_TOKENS_PER_CHAR = 0.7
"""Used without a tokenizer. On 1,300 Chinese rows Qwen's and DeepSeek's tokenizers gave 0.6-0.7 tokens a character."""

NONE, OTHER = "(none)", "(other)"
UNDECIDED = "und"

SURE, SURE_WIDTH = 0.8, 20
"""How sure the model must be of a turn's language, and how many characters the turn must have, a Chinese one counting
as two and a half, for a row to be one in several languages."""

_AT_ONCE = min(os.cpu_count() or 1, 8)
"""How many frames are measured at once: polars frees the interpreter while it works."""

_FIELDS: dict[str, tuple[Field, ...]] = {
    "chat": ("instruction", "answer", "conversation"),
    "candidates": ("instruction", "answer", "conversation"),
    "preference": ("instruction", "answer", "chosen", "rejected", "conversation"),
    "text": ("text", "conversation"),
}
_UNITS = {"characters": "chars", "words": "words", "tokens": "tokens"}
_CJK = r"\p{Han}\p{Hiragana}\p{Katakana}"
_WORD = rf"[{_CJK}]|[[\p{{L}}\p{{M}}\p{{N}}]--[{_CJK}]]+"
_TURNS_SHOWN = 20
_NAMES_KEPT = 10_000
_NAME_CHARS = 80
_NEAR_CHARS = 400
_OPENING_WORDS, _OPENING_CJK = 5, 8


_FIXES = {
    "rejected_input": "run `curate check` on the files: it names every line that could not be read and why",
    "repeated_instruction": "look at the rows, then add `- use: exact_duplicates` or cap them with `- use: balance`",
    "repeated_opening": "a model learns the phrase: where it declines, add `- use: refusal`; else rewrite the answers",
    "one_task": "add `- use: balance` (`by: task`, `max_share: 0.5`) to a recipe, or add rows of others",
    "one_source": "add `- use: balance` (`by: source`, `max_share: 0.5`) to a recipe, or add rows of others",
    "long_sequences": "cut or drop them with `- use: length` (`field: conversation`), or train with a longer maximum",
    "length_bias": "a reward for length is what such pairs teach: add pairs whose better answer is the shorter one",
    "identical_pairs": "such pairs teach nothing: look at them with `curate show`, then have people judge them again",
    "templated_opening": "a model learns the phrase: rewrite the answers, or drop them with `- use: flaws` "
    "(`measures: [templated_opening]`)",
    "toxic_words": "look at the rows; `- use: flaws` (`measures: [toxic_words]`) drops them",
    "prompt_injection": "look at the rows; `- use: flaws` (`measures: [prompt_injection]`) drops them",
}
# What does most harm first. Share of rows from which a finding is high and from which it is medium; below that it is
# low.
_SEVERITY = {
    "secret": (0.0, 0.0),
    "personal_data": (0.05, 0.0),
    "rejected_input": (0.01, 0.0),
    "toxic_words": (0.05, 0.001),
    "prompt_injection": (0.05, 0.001),
    DUPLICATES: (0.05, 0.01),
    NEAR: (0.10, 0.02),
    "empty": (0.01, 0.001),
    "identical_pairs": (0.01, 0.0),
    "refusal": (0.02, 0.005),
    "truncated": (0.05, 0.01),
    "placeholder": (0.01, 0.001),
    "boilerplate": (0.05, 0.01),
    "repetition": (0.05, 0.01),
    "language_mismatch": (0.10, 0.02),
    "templated_opening": (0.25, 0.05),
    "repeated_instruction": (0.05, 0.01),
    "repeated_opening": (0.25, 0.10),
    "one_task": (2.0, 0.95),
    "one_source": (2.0, 0.95),
    "length_bias": (0.85, 0.70),
    "long_sequences": (2.0, 0.05),
}
_FLAW = (0.05, 0.01)
"""The same for each measure that the stage `flaws` drops rows by."""
_LEVELS = ("high", "medium", "low")


@dataclass(frozen=True)
class _Measured:
    """What a frame's rows are, each by itself."""

    full: pl.DataFrame
    """The frame with the texts of its fields, and its languages."""
    narrow: pl.DataFrame
    because: Mapping[str, pl.Expr]
    summary: pl.DataFrame
    compared: pl.Series | None
    turns: pl.Series
    by_role: pl.DataFrame
    """`role`, `lang` and how many messages (`len`)."""
    several_languages: int
    personal: pl.DataFrame
    signals: Values


class Profiler:
    """Measures frames of rows one after the other; keeps numbers and hashes of each row, and a few excerpts.

    `tokenizer` is a `tokenizer.json` or a folder that holds one; `window` the model's, if not what files beside the
    tokenizer say; `names`: whether names of people count as personal
    data; `verbs`: whether to look at what instructions ask for; both take a model and much time. Memory grows by about
    300 bytes a row, whatever the length of its text.
    """

    def __init__(
        self,
        tokenizer: Path | None = None,
        *,
        window: Window | None = None,
        names: bool = False,
        verbs: bool = False,
        max_examples: int = 5,
    ) -> None:
        self._tokenizer = load_tokenizer(tokenizer) if tokenizer is not None else None
        self._window = window or (window_of(tokenizer) if tokenizer is not None else None)
        self._tokenizer_name = tokenizer.resolve().name if tokenizer is not None else ""
        self._max_examples = max_examples
        detect, duplicates = _shipped("detect_language"), _shipped(DUPLICATES)
        self._checks = {name: stage for name in CHECKS if isinstance(stage := _shipped(name), Filter)}
        mismatch = self._checks[MISMATCH]
        assert isinstance(detect, DetectLanguage) and isinstance(mismatch, LanguageMismatch)
        assert isinstance(duplicates, Compare) and len(self._checks) == len(CHECKS)
        self._detect, self._mismatch, self._duplicates = detect, mismatch, duplicates
        self._rows = 0
        self._text_bytes = 0
        self._narrow: list[pl.DataFrame] = []
        self._summaries: dict[str, list[pl.DataFrame]] = {}
        self._names: dict[str, _Names] = {name: _Names() for name in ("kind", "task", "source", "lang")}
        self._turns: Counter[int] = Counter()
        self._roles: Counter[str] = Counter()
        self._role_languages: dict[str, Counter[str]] = {}
        self._several_languages = 0
        self._personal = Counting(names, max_examples)
        self._signals = Signals()
        self._verbs = Verbs() if verbs else None
        self._pairs: Counter[str] = Counter()
        self._examples: dict[str, list[dict[str, Any]]] = {}
        self._repeats = {"instructions": _Repeats(), "openings": _Repeats()}
        self._seen = _Seen()
        self._duplicate_examples: list[tuple[int, dict[str, Any]]] = []
        self._near = _Near()

    def add(self, frame: pl.DataFrame, kind: str) -> None:
        """Measure rows: `frame` has the canonical columns of `kind` (`schemas.rows.columns`), any number of rows.

        Kinds without texts of their own (labels, scores) are counted, and no more.
        """
        if not frame.is_empty():
            self._take(frame, kind, self._measured(frame, kind))

    def add_each(self, frames: Iterable[tuple[pl.DataFrame, str]]) -> None:
        """`add` every frame with its kind, in order; several are measured at once, as many as there are cores."""
        waiting: deque[tuple[pl.DataFrame, str, Future[_Measured | None]]] = deque()

        def done() -> None:
            frame, kind, future = waiting.popleft()
            self._take(frame, kind, future.result())

        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="profile") as pool:
            try:
                for frame, kind in frames:
                    if frame.is_empty():
                        continue
                    waiting.append((frame, kind, pool.submit(self._measured, frame, kind)))
                    if len(waiting) > _AT_ONCE:
                        done()
                while waiting:
                    done()
            finally:
                pool.shutdown(cancel_futures=True)

    def _measured(self, frame: pl.DataFrame, kind: str) -> _Measured | None:
        """What a frame's rows are, each by itself, if they have texts; any thread may do it."""
        if kind not in _FIELDS:
            return None
        frame = frame.rechunk()
        fields = _FIELDS[kind]
        reasons = {name: stage.reasons() for name, stage in self._checks.items()}
        because = {name: stage.because() for name, stage in self._checks.items()}
        texts = {name: pl.col(f"field:{name}") for name in ("instruction", "answer", "conversation", *fields)}
        needed = [one for group in (*reasons.values(), *because.values()) for one in group.values()]
        full = with_fields(frame, kind, [*needed, *texts.values(), *self._detect.columns().values()])
        languages = _Languages(full, self._detect, self._mismatch)
        full = full.with_columns(lang=languages.lang, mismatch=languages.mismatch)
        reasons[MISMATCH] = {MISMATCH: pl.col("mismatch").is_not_null()}
        because[MISMATCH] = {MISMATCH: pl.col("mismatch")}
        # Lazily, because only then does polars work out just once what several reasons have in common.
        narrow = full.lazy().select(
            *(pl.any_horizontal(*found.values()).fill_null(False).alias(name) for name, found in reasons.items()),
            *(texts[name].str.len_chars().cast(pl.UInt32).alias(f"{name}:chars") for name in fields),
            *(texts[name].str.count_matches(_WORD).cast(pl.UInt32).alias(f"{name}:words") for name in fields),
            texts["conversation"].str.len_bytes().alias("bytes"),
            _present_hash(texts["instruction"]).alias("instruction_hash"),
            _present_hash(_opening(texts["answer"])).alias("opening_hash"),
            _opening(texts["answer"]).alias("opening"),
        )
        turns = with_fields(frame, kind, [pl.col(FIELD_PREFIX + TURNS)])[FIELD_PREFIX + TURNS]
        measured = narrow.collect()
        return _Measured(
            full,
            measured.with_columns(self._tokens(full, frame, kind, measured)),
            {name: _said(reasons[name], because[name]) for name in CHECKS},
            summarise(full, kind, self._duplicates, 0),
            self._near.summary(turns),
            turns,
            languages.by_role,
            languages.several,
            self._personal.found(full["field:conversation"]),
            self._signals.measured(frame, kind),
        )

    def _take(self, frame: pl.DataFrame, kind: str, one: _Measured | None) -> None:
        """Count the rows that come next, with what was measured of them."""
        if one is None:
            self._narrow.append(pl.DataFrame(self._codes(frame, kind)))
            self._rows += frame.height
            return
        full, narrow = one.full, one.narrow
        self._text_bytes += int(narrow["bytes"].sum() or 0)
        self._count_turns(frame, kind)
        self._count_languages(one.by_role, one.several_languages)
        self._count_pairs(full, kind)
        self._count_repeats(full, narrow)
        self._count_personal(full, one.personal)
        self._signals.take(one.signals)
        if self._verbs is not None:
            self._verbs.add(frame, kind)
        for name in CHECKS:
            self._show(name, full, narrow[name], one.because[name])
        self._keep_summary(full, kind, one.summary)
        self._near.take(kind, one.compared, one.turns, full["origin"])
        self._narrow.append(narrow.drop("opening", "bytes").with_columns(**self._codes(full, kind)))
        self._rows += frame.height

    def _codes(self, frame: pl.DataFrame, kind: str) -> dict[str, pl.Series]:
        return {name: names.codes(_name_column(frame, name, kind)) for name, names in self._names.items()}

    def result(
        self,
        *,
        formats: Mapping[str, int] | None = None,
        files: int | None = None,
        bytes: int | None = None,
        rejected: Mapping[str, int] | None = None,
        rejected_examples: Iterable[Mapping[str, Any]] = (),
    ) -> Profile:
        """The profile of every row added.

        What only the reader of the files knows is told here: `formats` {name: rows}, how many `files`, their size in
        `bytes`, `rejected` {reason: n} and examples of it {reason, file, line, excerpt}.
        """
        rows = pl.concat([_no_rows(), *self._narrow], how="diagonal").with_columns(pl.col(CHECKS).fill_null(False))
        repeats = self._duplicate_rows()
        repeated = np.zeros(self._rows, dtype=np.bool_)
        repeated[repeats["ordinal"].to_numpy()] = True
        rows = rows.with_columns(pl.Series(DUPLICATES, repeated, dtype=pl.Boolean))
        order = ("empty", DUPLICATES, *CHECKS[1:])
        checks = {name: int(rows[name].sum()) for name in order}
        verdicts = _verdicts(rows, order)
        near, near_examples = self._near.result(self._max_examples)
        estimated = self._tokenizer is None
        profile: Profile = {
            "rows": self._rows,
            "clean_rows": verdicts["clean"],
            "bytes": bytes,
            "text_bytes": self._text_bytes,
            "files": files,
            "formats": _largest(Counter(formats or {})),
            "kinds": self._names["kind"].counts(rows["kind"]),
            "turns": _turns(self._turns),
            "roles": _largest(self._roles),
            "languages": self._names["lang"].counts(rows["lang"]),
            "languages_by_role": {
                role: _largest(counts)
                for role, counts in sorted(self._role_languages.items(), key=lambda one: (-one[1].total(), one[0]))
            },
            "rows_in_several_languages": self._several_languages,
            "tasks": self._names["task"].counts(rows["task"], NAMES_SHOWN),
            "sources": self._names["source"].counts(rows["source"], NAMES_SHOWN),
            "lengths": _lengths(rows, "chars"),
            "words": _lengths(rows, "words"),
            "tokens": _lengths(rows, "tokens"),
            "token_counts": {
                "estimated": estimated,
                "by": f"{LATIN_CHARS_PER_TOKEN:g} characters a token, CJK {CJK_TOKENS_PER_CHAR:g} tokens a character"
                if estimated
                else excerpt(self._tokenizer_name, _NAME_CHARS),
            },
            "histograms": _histograms(rows),
            "groups": {
                shown: self._groups(rows, column)
                for shown, column in (("task", "task"), ("source", "source"), ("language", "lang"))
            },
            "sequences": {
                "estimated": estimated,
                "over": {str(limit): _over(rows, limit) for limit in SEQUENCE_LIMITS},
                "window": beyond(rows["conversation:tokens"], self._window) if self._window else None,
            },
            "checks": checks,
            "verdicts": verdicts,
            "duplicates": {"exact": checks[DUPLICATES], "near": near},
            "examples": self._all_examples(repeats) | ({NEAR: near_examples} if near_examples else {}),
            "repeated": {name: self._repeats[name].top(rows[f"{name[:-1]}_hash"]) for name in self._repeats},
            "personal_data_rows": self._personal.rows,
            "personal_data": self._personal.types,
            "names_looked_for": self._personal.names,
            "measures": self._signals.result(),
            "verbs": self._verbs.result() if self._verbs is not None else None,
            "preference": dict(self._pairs) or None,
            "rejected": _largest(Counter(rejected or {})),
            "rejected_examples": [_rejected_example(one) for one in rejected_examples],
        }
        profile["findings"] = findings(profile)
        return profile

    def _count_turns(self, frame: pl.DataFrame, kind: str) -> None:
        conversations = {"chat": ["messages"], "preference": ["prompt", "chosen"], "candidates": ["prompt"]}.get(
            kind, []
        )
        if not conversations:
            return
        turns = frame.select(pl.sum_horizontal(pl.col(name).list.len() for name in conversations)).to_series()
        for number, rows in turns.value_counts().iter_rows():
            self._turns[min(int(number or 0), _TURNS_SHOWN)] += rows
        for name in conversations:
            for role, messages in frame[name].explode().struct.field("role").drop_nulls().value_counts().iter_rows():
                self._roles[excerpt(role, _NAME_CHARS)] += messages

    def _count_languages(self, by_role: pl.DataFrame, several: int) -> None:
        for role, lang, messages in by_role.iter_rows():
            self._role_languages.setdefault(excerpt(role, _NAME_CHARS), Counter())[lang] += messages
        self._several_languages += several

    def _count_pairs(self, full: pl.DataFrame, kind: str) -> None:
        if kind != "preference":
            return
        chosen, rejected = pl.col("field:chosen"), pl.col("field:rejected")
        longer = chosen.str.len_chars().cast(pl.Int64) - rejected.str.len_chars().cast(pl.Int64)
        counts = full.select(
            pairs=pl.len(), longer=(longer > 0).sum(), shorter=(longer < 0).sum(), identical=(chosen == rejected).sum()
        ).row(0, named=True)
        self._pairs.update({name: int(count) for name, count in counts.items()})

    def _count_repeats(self, full: pl.DataFrame, narrow: pl.DataFrame) -> None:
        self._repeats["instructions"].add(narrow["instruction_hash"], full["field:instruction"])
        self._repeats["openings"].add(narrow["opening_hash"], narrow["opening"])

    def _count_personal(self, full: pl.DataFrame, found: pl.DataFrame) -> None:
        def show(place: int, said: str) -> dict[str, Any]:
            return _examples(full[place : place + 1])[0] | {"instruction": None, "excerpt": excerpt(said, 200)}

        self._personal.take(full["field:conversation"], found, show)

    def _show(self, name: str, full: pl.DataFrame, found: pl.Series, because: pl.Expr = NOTHING) -> None:
        """Keep examples of the rows of `full` where `found` (Boolean) holds, while there are fewer than wanted."""
        shown = self._examples.setdefault(name, [])
        missing = self._max_examples - len(shown)
        if missing > 0 and found.any():
            # Whole again, because polars 2.1 panics in pl.format where a column's first chunk is empty.
            shown.extend(_examples(full.filter(found).head(missing).rechunk(), because))

    def _keep_summary(self, full: pl.DataFrame, kind: str, summary: pl.DataFrame) -> None:
        summary = summary.with_columns(pl.col("ordinal") + self._rows)
        self._summaries.setdefault(kind, []).append(summary)
        missing = 2 * self._max_examples - len(self._duplicate_examples)
        if missing > 0:
            seen = self._seen.before(summary["key"].hash(seed=len(kind)))
            places = np.flatnonzero(seen & summary["key"].is_not_null().to_numpy())[:missing].tolist()
            examples = _examples(full[places]) if places else []
            self._duplicate_examples.extend(zip((self._rows + place for place in places), examples, strict=True))

    def _duplicate_rows(self) -> pl.DataFrame:
        """The rows that repeat another of their kind, as the stage decides it: ordinal, reason and because."""
        choices = [
            Choice.of(self._duplicates.choose(pl.concat(summaries), _no_fetch)).rows
            for summaries in self._summaries.values()
        ]
        return pl.concat(choices) if choices else pl.DataFrame(schema={"ordinal": pl.Int64, "because": pl.String})

    def _all_examples(self, repeats: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
        candidates = dict(self._duplicate_examples)
        known = repeats.filter(pl.col("ordinal").is_in(list(candidates))).sort("ordinal").head(self._max_examples)
        shown = [
            candidates[ordinal] | {"because": excerpt(because)}
            for ordinal, because in known.select("ordinal", "because").iter_rows()
        ]
        every = self._examples | {DUPLICATES: shown} | self._personal.examples
        return {name: some for name, some in every.items() if some}

    def _tokens(self, full: pl.DataFrame, frame: pl.DataFrame, kind: str, narrow: pl.DataFrame) -> list[pl.Series]:
        """`field:tokens` columns (UInt32): counted where there is a tokenizer, else estimated from bytes."""
        if self._tokenizer is None:
            # A CJK character is 3 bytes in UTF-8, a Latin one 1, so (bytes - characters) / 2 counts the CJK ones.
            chars = narrow["conversation:chars"].cast(pl.Float64)
            cjk = (narrow["bytes"].cast(pl.Float64) - chars) / 2
            estimate = (cjk * CJK_TOKENS_PER_CHAR + (chars - cjk) / LATIN_CHARS_PER_TOKEN).ceil()
            return [estimate.cast(pl.UInt32).alias("conversation:tokens")]
        counter = TokenCounter(self._tokenizer)
        counted = [counter.each(full[f"field:{name}"]).alias(f"{name}:tokens") for name in _FIELDS[kind][:-1]]
        return [*counted, counter.summed(_turn_texts(frame, kind)).alias("conversation:tokens")]

    def _groups(self, rows: pl.DataFrame, column: str) -> list[dict[str, Any]]:
        counted = rows[column].value_counts(sort=True).sort("count", column, descending=[True, False])
        largest = counted[column].head(TOP_GROUPS).to_list()
        groups = [(self._names[column].shown(code), rows.filter(pl.col(column) == code)) for code in largest]
        rest = rows.filter(~pl.col(column).is_in(largest))
        if rest.height:
            groups.append((OTHER, rest))
        return [
            {
                "name": name,
                "rows": part.height,
                "lengths": _lengths(part, "chars"),
                "histograms": {name: units["characters"] for name, units in _histograms(part, ("characters",)).items()},
            }
            for name, part in groups
        ]


def findings(profile: Profile) -> list[dict[str, Any]]:
    """What is worth a person's attention in a profile, most severe first."""
    rows = max(profile["rows"], 1)
    found: list[dict[str, Any]] = []

    def say(
        kind: str, count: int, share: float, *, example: Any = None, use: str | None = None, **settings: Any
    ) -> None:
        if count <= 0:
            return
        high, medium = _SEVERITY.get(kind, _FLAW)
        severity = "high" if share >= high else "medium" if share >= medium else "low"
        with_ = ", ".join(f"`{name}: {value}`" for name, value in settings.items())
        fix = f"add `- use: {use}`{f' ({with_})' if with_ else ''} to a recipe" if use else _FIXES[kind]
        finding = {"kind": kind, "severity": severity, "count": count, "share": round(share, 6)}
        found.append(finding | {"example": example, "fix": fix, "use": use, "settings": settings})

    def first(name: str) -> Any:
        return next(iter(profile["examples"].get(name, [])), None)

    rejected = sum(profile["rejected"].values())
    example = next(iter(profile["rejected_examples"]), None)
    say("rejected_input", rejected, rejected / max(profile["rows"] + rejected, 1), example=example)
    for name, count in profile["checks"].items():
        say(name, count, count / rows, example=first(name), use=name)
    held: Counter[str] = Counter(profile["personal_data"])
    near = profile["duplicates"]["near"] or 0
    if near > profile["duplicates"]["exact"]:
        say(NEAR, near, near / rows, example=first(NEAR), use=NEAR)
    say("secret", held[SECRET], held.pop(SECRET, 0) / rows, example=first(SECRET), use="personal_data")
    count = profile["personal_data_rows"]
    commonest = first(held.most_common(1)[0][0]) if held else None
    say("personal_data", count, count / rows, example=commonest, use="personal_data")
    dropped = _shipped("flaws").model_dump()["measures"]
    for name, one in profile["measures"]["yes"].items():
        if name in dropped or name in _FIXES:
            use = "flaws" if name in dropped else None
            say(name, one["rows"], one["rows"] / rows, example=next(iter(one["examples"]), None), use=use)
    for kind, name in (("repeated_instruction", "instructions"), ("repeated_opening", "openings")):
        top = next(iter(profile["repeated"][name]), None)
        if top and top["rows"] >= 3 and top["rows"] / rows >= (0.01 if name == "instructions" else 0.05):
            say(kind, top["rows"], top["rows"] / rows, example={"excerpt": top["excerpt"]})
    for kind, names in (("one_task", profile["tasks"]), ("one_source", profile["sources"])):
        name, count = next(iter(names.items()), ("", 0))
        if len(names) > 1 and name not in (NONE, OTHER) and count / rows >= 0.8:
            say(kind, count, count / rows, example={"excerpt": name})
    window = profile["sequences"]["window"]
    longest = window["rows"] if window else profile["sequences"]["over"][str(SEQUENCE_LIMITS[-1])]
    say("long_sequences", longest, longest / rows)
    if pairs := profile["preference"]:
        different = max(pairs["longer"] + pairs["shorter"], 1)
        if pairs["longer"] / different >= 0.6 and pairs["longer"] >= 10:
            say("length_bias", pairs["longer"], pairs["longer"] / different)
        say("identical_pairs", pairs["identical"], pairs["identical"] / max(pairs["pairs"], 1))
    harm = {kind: place for place, kind in enumerate(_SEVERITY)}
    return sorted(
        found, key=lambda one: (_LEVELS.index(one["severity"]), harm.get(one["kind"], harm["placeholder"]), one["kind"])
    )


class _Near:
    """Counts near duplicates of each kind of rows, as the stage decides it, until there are too many to hold."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[list[pl.Series], list[pl.DataFrame]]] | None = {}
        self._shingles = 0

    def summary(self, texts: pl.Series) -> pl.Series | None:
        """What texts are compared by; None when it is no longer wanted."""
        if self._found is None:
            return None
        from curate.near import Comparison

        return Comparison().summary(texts)

    def take(self, kind: str, compared: pl.Series | None, texts: pl.Series, origins: pl.Series) -> None:
        """More rows: what each is compared by, its text, and where it stood."""
        if self._found is None or compared is None:
            return
        self._shingles += sum(int(compared.struct.field(name).list.len().sum()) for name in ("short", "long"))
        if self._shingles > NEAR_SHINGLES:
            self._found = None
            return
        known, shown = self._found.setdefault(kind, ([], []))
        known.append(compared)
        shown.append(
            pl.DataFrame(
                [origins, texts.str.head(_NEAR_CHARS).str.replace_all(ANSWER_MARK, "", literal=True).alias("text")]
            )
        )

    def result(self, most: int) -> tuple[int | None, list[dict[str, Any]]]:
        """How many rows are near duplicates, or None where that is not known, and a few of them that are no copies."""
        if self._found is None:
            return None, []
        from curate.near import Comparison, entries_from

        count, examples = 0, []
        for known, shown in self._found.values():
            compared = pl.concat(known)
            matches = Comparison().match(entries_from(compared), np.arange(len(compared)))
            count += int((matches.kept >= 0).sum())
            some = np.flatnonzero((matches.kept >= 0) & (matches.similarity < 1))[:most]
            rows = pl.concat(shown)
            for place, other in zip(some.tolist(), matches.kept[some].tolist(), strict=True):
                alike, other_where = f"{matches.similarity[place]:.2f}", where(rows["origin"][other])
                examples.append(
                    {
                        "where": where(rows["origin"][place]),
                        "excerpt": excerpt(rows["text"][place]),
                        "because": f"{alike} like {other_where}",
                    }
                )
        return count, examples[:most]


class _Names:
    """Small codes for names that repeat (sources, tasks), so that rows keep a number and not a text."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {OTHER: 0}

    def codes(self, names: pl.Series) -> pl.Series:
        """The code of each name (UInt32); names beyond the first ten thousand share one."""
        mapping = {}
        for name in names.unique(maintain_order=True):
            key = name[:_NAME_CHARS]
            if key not in self._codes and len(self._codes) < _NAMES_KEPT:
                self._codes[key] = len(self._codes)
            mapping[name] = self._codes.get(key, 0)
        return names.replace_strict(mapping, return_dtype=pl.UInt32)

    def shown(self, code: int) -> str:
        """The name of a code, fit to be shown."""
        return excerpt(list(self._codes)[code], _NAME_CHARS)

    def counts(self, codes: pl.Series, most: int | None = None) -> dict[str, int]:
        """Rows by name, largest first; beyond the first `most` names together as other."""
        names = list(self._codes)
        counted = Counter({excerpt(names[code], _NAME_CHARS): rows for code, rows in codes.value_counts().iter_rows()})
        return _largest(counted, most)


class _Sketch:
    """How often each hash was seen, in fixed memory: never too few, and rarely too many."""

    SLOTS = 1 << 22

    def __init__(self) -> None:
        self._counts = np.zeros(self.SLOTS, dtype=np.uint32)

    def add(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint32]:
        """Count `hashes` (any number); gives how often each was seen up to its own place."""
        slots = (hashes & np.uint64(self.SLOTS - 1)).astype(np.int64)
        before = self._counts[slots]
        order = np.argsort(slots, kind="stable")
        ordered = slots[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if ordered.size else np.empty(0, np.int64)
        sizes = np.diff(np.r_[starts, ordered.size])
        within = np.empty(slots.size, dtype=np.uint32)
        within[order] = np.arange(ordered.size) - np.repeat(starts, sizes) + 1
        if ordered.size:
            self._counts[ordered[starts]] += sizes.astype(np.uint32)
        return (before + within).astype(np.uint32)


class _Seen:
    """Whether a hash was seen before, in fixed memory: surely where it says so, but older ones are forgotten."""

    SLOTS = 1 << 20

    def __init__(self) -> None:
        self._tags = np.zeros(self.SLOTS, dtype=np.uint64)

    def before(self, hashes: pl.Series) -> npt.NDArray[np.bool_]:
        """Whether each hash was seen, in an earlier call or earlier in this one."""
        tags = hashes.to_numpy()
        slots = (tags & np.uint64(self.SLOTS - 1)).astype(np.int64)
        seen: npt.NDArray[np.bool_] = (self._tags[slots] == tags) | ~hashes.is_first_distinct().to_numpy()
        self._tags[slots] = tags
        return seen


class _Repeats:
    """The texts repeated most, without keeping all texts: a sketch says which are worth an excerpt.

    A text in the final top ten was, at its last occurrence, among those seen most often so far, so its excerpt is kept
    unless two thousand others collide with frequent ones. The counts are exact: they come from every row's hash.
    """

    KEPT = 2_000

    def __init__(self) -> None:
        self._sketch = _Sketch()
        self._shown: dict[int, tuple[int, str]] = {}

    def add(self, hashes: pl.Series, texts: pl.Series) -> None:
        """Count texts by their hashes (UInt64, null where the text is null or empty)."""
        present = hashes.is_not_null()
        hashes, texts = hashes.filter(present), texts.filter(present)
        times = self._sketch.add(hashes.to_numpy())
        places = np.flatnonzero(times > 1)
        if not places.size:
            return
        last = pl.DataFrame({"place": places, "hash": hashes.gather(places), "times": times[places]})
        for place, key, count in (
            last.group_by("hash").agg(pl.col("place", "times").last()).select("place", "hash", "times").iter_rows()
        ):
            shown = self._shown[key][1] if key in self._shown else texts[place][:400]
            self._shown[key] = (count, shown)
        if len(self._shown) > 2 * self.KEPT:
            best = sorted(self._shown.items(), key=lambda item: -item[1][0])[: self.KEPT]
            self._shown = dict(best)

    def top(self, hashes: pl.Series) -> list[dict[str, Any]]:
        """The ten most repeated texts with how many rows say them, from every row's hash."""
        counted = hashes.drop_nulls().value_counts().filter(pl.col("count") > 1)
        known = counted.filter(pl.col(hashes.name).is_in(pl.Series(list(self._shown), dtype=pl.UInt64).implode()))
        best = sorted(
            (
                (count, excerpt(self._shown[key][1]))
                for key, count in known.sort("count", descending=True).head(100).iter_rows()
            ),
            key=lambda one: (-one[0], one[1]),
        )
        return [{"excerpt": shown, "rows": count} for count, shown in best[:TOP_REPEATS]]


def _shipped(name: str) -> Stage:
    """A stage that ships, with its default settings."""
    return find("curate.stages", name, Stage)()


def _no_fetch(ordinals: Sequence[int], names: Sequence[str]) -> pl.DataFrame:
    raise NotImplementedError("a profile keeps no texts, so a stage it uses must decide by its summaries alone")


def _no_rows() -> pl.DataFrame:
    schema: dict[str, pl.DataType] = {name: pl.Boolean() for name in CHECKS}
    schema |= {name: pl.UInt32() for name in ("kind", "task", "source", "lang", "conversation:tokens")}
    return pl.DataFrame(schema=schema | {"instruction_hash": pl.UInt64(), "opening_hash": pl.UInt64()})


def _name_column(full: pl.DataFrame, name: str, kind: str) -> pl.Series:
    if name == "kind":
        return pl.Series([kind]).new_from_index(0, full.height)
    return full[name].fill_null(UNDECIDED if name == "lang" else NONE)


def _opening(answer: pl.Expr) -> pl.Expr:
    """The first words of an answer: eight characters of Chinese or Japanese, five words otherwise."""
    head = answer.str.strip_chars().str.slice(0, 96)
    cjk = head.str.contains(rf"^[^\p{{L}}\p{{N}}]{{0,4}}[{_CJK}]")
    words = head.str.extract(rf"^((?:\S+\s+){{0,{_OPENING_WORDS - 1}}}\S+)", 1)
    return pl.when(cjk).then(head.str.slice(0, _OPENING_CJK)).otherwise(words)


def _present_hash(text: pl.Expr) -> pl.Expr:
    """Hash of a text without case and space around it (UInt64); null where there is nothing."""
    plain = text.str.strip_chars().str.to_lowercase()
    return pl.when(plain != "").then(plain.hash())


class _Languages:
    """What is told of the languages of some rows; each distinct text is looked at once for all of it."""

    def __init__(self, full: pl.DataFrame, detect: DetectLanguage, mismatch: LanguageMismatch) -> None:
        every = turns(full.select(conversation=CONVERSATION).to_series())
        fields = full.select(pl.col("^field:(instruction|answer)$").cast(pl.String))
        undecided = fields.filter(full["lang"].is_null()).get_columns()
        rest = full.filter(pl.all_horizontal(pl.col("^field:(instruction|answer)$").is_null()))["field:conversation"]
        known = prose(every["text"], *undecided, rest)
        told = guesses_once(every["text"], known=known)
        self.lang = full.select(lang=detect.columns(known)["lang"]).to_series()
        """The language of each row."""
        self.mismatch = mismatch.wrong(every, full.height, told)
        """What is wrong with the language of its answers, or null."""
        turned = every.join(told, on="text", how="left", maintain_order="left")
        self.by_role = turned.group_by(pl.col("role").fill_null(NONE), "lang").len()
        """`role`, `lang` and how many messages, `len`."""
        lang = pl.col("lang").replace("zh-en", "zh en").str.split(" ")
        one_language = ~pl.col("lang").is_in([one for one in NOT_ONE_LANGUAGE if one != "zh-en"])
        sure = turned.filter(one_language & (pl.col("sure") >= SURE) & (pl.col("width") >= SURE_WIDTH))
        languages = (
            sure.select("row", lang.alias("lang")).explode("lang").group_by("row").agg(pl.col("lang").n_unique())
        )
        self.several = int((languages["lang"] > 1).sum())
        """How many rows are in several languages."""


def _turn_texts(frame: pl.DataFrame, kind: str) -> pl.Series:
    """The texts that make up each row's conversation, as `schemas.chat.field` joins them (List[String])."""
    content = pl.element().struct.field("content")

    def contents(messages: pl.Expr) -> pl.Expr:
        return messages.list.eval(content)

    if kind == "chat":
        texts = contents(pl.col("messages"))
    elif kind == "preference":
        texts = pl.concat_list(contents(pl.col("prompt")), contents(pl.col("chosen")))
    elif kind == "candidates":
        texts = pl.concat_list(contents(pl.col("prompt")), field(kind, "answer"))
    else:
        texts = pl.concat_list("text")
    return frame.select(texts=texts).to_series()


def _examples(rows: pl.DataFrame, because: pl.Expr = NOTHING) -> list[dict[str, Any]]:
    """What is shown of a few rows with their `field:` columns."""
    return example_rows(rows, pl.coalesce("field:answer", "field:conversation"), because)


def _said(reasons: Mapping[str, pl.Expr], because: Mapping[str, pl.Expr]) -> pl.Expr:
    """What a stage says of a row: what it found under the first of its reasons that holds, else that reason's name."""
    first = pl.coalesce(pl.when(holds).then(pl.lit(reason)) for reason, holds in reasons.items())
    found = [pl.when(first == reason).then(what.cast(pl.String)) for reason, what in because.items()]
    return pl.coalesce(*found, first)


def _rejected_example(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "reason": excerpt(one.get("reason"), 60),
        "file": excerpt(one.get("file"), 200),
        "line": one.get("line"),
        "excerpt": excerpt(one.get("excerpt")),
    }


def _largest(counts: Counter[str], most: int | None = None) -> dict[str, int]:
    """Counts, largest first and names in order; what is beyond the first `most` names added up as other."""
    ordered = sorted(((name, rows) for name, rows in counts.items() if rows), key=lambda one: (-one[1], one[0]))
    if most is None or len(ordered) <= most:
        return dict(ordered)
    rest = Counter({OTHER: sum(rows for _, rows in ordered[most:])})
    return dict(Counter(dict(ordered[:most])) + rest)


def _turns(turns: Counter[int]) -> dict[str, int]:
    return {f"{number}+" if number == _TURNS_SHOWN else str(number): turns[number] for number in sorted(turns)}


def _verdicts(rows: pl.DataFrame, order: Sequence[str]) -> dict[str, int]:
    first = pl.coalesce(*(pl.when(pl.col(name)).then(pl.lit(name)) for name in order), pl.lit("clean"))
    counted: dict[str, int] = dict(rows.select(first.alias("verdict")).to_series().value_counts().iter_rows())
    return {name: counted.get(name, 0) for name in (*order, "clean")}


def _fields_of(rows: pl.DataFrame, unit: str) -> list[str]:
    names = ("instruction", "answer", "chosen", "rejected", "text", "conversation")
    return [name for name in names if f"{name}:{unit}" in rows.columns]


def _lengths(rows: pl.DataFrame, unit: str) -> dict[str, dict[str, float]]:
    """Percentiles of each field in a unit, by nearest rank: always a length that occurs."""
    result: dict[str, dict[str, float]] = {}
    for name in _fields_of(rows, unit):
        values = rows[f"{name}:{unit}"].drop_nulls().sort()
        if values.is_empty():
            continue
        ranks = {"min": 0.0, "p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
        at = {key: max(int(np.ceil(share * values.len())) - 1, 0) for key, share in ranks.items()}
        measured = {key: int(values[place]) for key, place in at.items()}
        mean = float(values.cast(pl.Float64).to_numpy().mean())
        result[name] = {"rows": values.len(), **measured, "mean": round(mean, 1)}
    return result


def _edges(longest: int) -> npt.NDArray[np.int64]:
    """Eight bins a decade, rounded to whole lengths, from 1 to beyond `longest`."""
    decades = int(np.ceil(np.log10(max(longest, 9) + 1)))
    return np.unique(np.round(10 ** (np.arange(0, 8 * decades + 1) / 8)).astype(np.int64))


def _histograms(rows: pl.DataFrame, units: Iterable[str] = tuple(_UNITS)) -> dict[str, dict[str, dict[str, Any]]]:
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for unit in units:
        for name in _fields_of(rows, _UNITS[unit]):
            values = rows[f"{name}:{_UNITS[unit]}"].drop_nulls().to_numpy()
            if not values.size:
                continue
            edges = _edges(int(values.max()))
            bins = np.searchsorted(edges, values[values > 0], side="right") - 1
            counts = np.bincount(bins, minlength=edges.size - 1)[: edges.size - 1]
            used = int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else 1
            result.setdefault(name, {})[unit] = {
                "edges": edges[: used + 1].tolist(),
                "counts": counts[:used].tolist(),
                "zero": int((values == 0).sum()),
            }
    return result


def _over(rows: pl.DataFrame, limit: int) -> int:
    return int((rows["conversation:tokens"] > limit).sum() or 0)
