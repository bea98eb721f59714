"""The `curate` command line: parses, calls one function, shows its result. Heavy libraries load inside commands."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from schemas import console
from schemas.command import application, copy_report, settings_given
from schemas.errors import UserError

app = application("curate", "Turn raw fine-tuning data into a profiled, cleaned, versioned and explained dataset.")
Paths = Annotated[list[Path], typer.Argument(help="Files or folders.", show_default=False)]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write the dataset to.", show_default=False)]
Replace = Annotated[bool, typer.Option("--replace", help="Put the new dataset in the place of another one.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with status 1 if there are findings.")]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory", help="What rows are compared by may take so much (3GB), then goes to a file. A quarter of all."
    ),
]
DatasetPath = Annotated[Path, typer.Argument(help="A dataset folder.", show_default=False)]
SourceName = Annotated[
    str | None, typer.Option("--source", help="Name of the source; by default the file's or folder's name.")
]
Licence = Annotated[str | None, typer.Option("--licence", help="SPDX licence expression, or the licence's text.")]
Evidence = Annotated[str | None, typer.Option("--evidence", help="Contract number, collection record or address.")]
Terms = Annotated[str | None, typer.Option("--terms", help="Output policy of the teacher model that wrote the rows.")]
Training = Annotated[str, typer.Option("--training", help="allowed, conditional, denied or unknown.")]
PersonalData = Annotated[str, typer.Option("--personal-data", help="present, scrubbed, none or unknown.")]
Consent = Annotated[str | None, typer.Option("--consent", help="On what ground personal data was collected.")]
Task = Annotated[str | None, typer.Option("--task", help="Task of rows that do not name one.")]
ReportFile = Annotated[Path | None, typer.Option("--report", help="Write the HTML report to this file.")]


def _source(**fields: Any) -> dict[str, Any]:
    """Fields of a source, checked, as a sentence if one is wrong."""
    from pydantic import ValidationError

    from schemas.sources import Source

    given = {key: value for key, value in fields.items() if value is not None}
    try:
        Source(name="x", **given)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise UserError(f"{option}: {first['msg']}", hint=f"found {first['input']!r}") from None
    return given


def _columns(items: list[str] | None) -> dict[str, str]:
    """`--map FIELD=COLUMN` options as the field that each column is read as."""
    return {column: field for field, column in settings_given(items, "output=answer", option="--map").items()}


def _bytes(size: str | None) -> int | None:
    """A size such as 3GB in bytes."""
    from pydantic import ByteSize, TypeAdapter, ValidationError

    if size is None:
        return None
    try:
        return TypeAdapter(ByteSize).validate_python(size)
    except ValidationError:
        raise UserError(f"--memory {size!r} is no size", hint="for example --memory 3GB or --memory 500MiB") from None


def _show(found: Any, page: Callable[[Any], None], *, as_json: bool) -> None:
    """Print a result for machines or for people."""
    if as_json:
        console.show_json(found)
    else:
        page(found)


def _show_made(
    made: Any,
    *,
    as_json: bool,
    strict: bool,
    report: Path | None = None,
    more: dict[str, Any] | None = None,
    page: Callable[[Any], None] | None = None,
) -> None:
    """Print what a command made, and leave with status 1 if asked to and there are findings. `more` joins the JSON."""
    from curate.importing import result_json
    from curate.pages import made_page

    result = result_json(made) | (more or {})
    copy_report(Path(result["dataset"]), report)
    if as_json:
        console.show_json(result)
    else:
        (page or made_page)(made)
    if strict and result["findings"]:
        raise typer.Exit(1)


@app.command("import")
def import_(
    paths: Paths,
    out: Out,
    format_: Annotated[
        str | None, typer.Option("--format", help="Format of every row; recognised row by row if not given.")
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", help="FIELD=COLUMN: read that column of the file as this field; may be repeated."),
    ] = None,
    task: Task = None,
    encoding: Annotated[
        str | None, typer.Option("--encoding", help="Encoding of text files; detected if not given.")
    ] = None,
    source: SourceName = None,
    kind: Annotated[str, typer.Option("--kind", help="How the rows were come by: buy, build or collect.")] = "collect",
    licence: Licence = None,
    evidence: Evidence = None,
    terms: Terms = None,
    training: Training = "unknown",
    personal_data: PersonalData = "unknown",
    consent: Consent = None,
    replace: Replace = False,
    report: ReportFile = None,
    as_json: Json = False,
    strict: Strict = False,
) -> None:
    """Read files of rows into a dataset.

    JSON, JSONL, CSV, TSV, Parquet, Arrow, XLSX and text, each also as .gz or .zst, in any of the formats that
    `curate formats` lists. Rows that cannot be used are kept in rejected.jsonl with file, line and reason.
    """
    from curate.importing import import_files
    from curate.read import Reading

    columns = _columns(map_)
    reading = Reading(format_, columns, encoding, task, source)
    told = _source(
        kind=kind,
        licence=licence,
        evidence=evidence,
        terms=terms,
        training=training,
        personal_data=personal_data,
        consent=consent,
    )
    made = import_files(hub_paths(paths), out, reading, told, replace=replace)
    _show_made(made, as_json=as_json, strict=strict, report=report)


def hub_paths(paths: list[Path]) -> list[Path]:
    """The paths, with ids of datasets on a hub fetched."""
    if all(path.exists() for path in paths):
        return paths
    from curate.hub import fetched

    return [path if path.exists() else fetched(path) for path in paths]


@app.command()
def collect(
    what: Annotated[str, typer.Argument(help="code, docs or chats.", show_default=False)],
    paths: Paths,
    out: Out,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the collector, NAME=VALUE; may be repeated.")
    ] = None,
    source: SourceName = None,
    licence: Licence = None,
    evidence: Evidence = None,
    training: Training = "unknown",
    personal_data: PersonalData = "unknown",
    consent: Consent = None,
    replace: Replace = False,
    report: ReportFile = None,
    as_json: Json = False,
    strict: Strict = False,
) -> None:
    """Make rows from what you already have.

    code: functions and methods with their docstrings: write, explain or document this function.
    docs: sections of Markdown, reStructuredText, HTML, DOCX, PDF and text; the heading asks, the section answers.
    chats: conversation logs, one message or one conversation a row, split by id and time gap.
    `curate collectors` lists their settings.
    """
    from curate.importing import collect_files

    told = _source(
        kind="collect",
        licence=licence,
        evidence=evidence,
        training=training,
        personal_data=personal_data,
        consent=consent,
    )
    made = collect_files(
        what, paths, out, settings_given(set_, "role=speaker"), told, source_name=source, replace=replace
    )
    _show_made(made, as_json=as_json, strict=strict, report=report)


@app.command()
def collectors(as_json: Json = False) -> None:
    """List the collectors and their settings."""
    from curate.pages import collectors_page
    from curate.recipe import describe_collectors

    found = describe_collectors()
    if as_json:
        console.show_json({"collectors": found})
    else:
        collectors_page(found)


@app.command()
def profile(
    path: Annotated[list[Path], typer.Argument(help="Files, folders or datasets.", show_default=False)],
    report: ReportFile = None,
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", help="A tokenizer.json, or a model folder that holds one.")
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            "--window", min=1, help="Tokens that your model takes in, if the tokenizer's folder does not say."
        ),
    ] = None,
    names: Annotated[
        bool, typer.Option("--names", help="Look for names of people too; takes a model and much time.")
    ] = False,
    verbs: Annotated[
        bool, typer.Option("--verbs", help="What instructions ask for, verbs and objects; takes time.")
    ] = False,
    suggest: Annotated[
        Path | None, typer.Option("--suggest", help="Write a recipe that mends what is found.", show_default=False)
    ] = None,
    format_: Annotated[str | None, typer.Option("--format", help="Format of every row.")] = None,
    map_: Annotated[list[str] | None, typer.Option("--map", help="FIELD=COLUMN; may be repeated.")] = None,
    encoding: Annotated[str | None, typer.Option("--encoding", help="Encoding of text files.")] = None,
    as_json: Json = False,
    strict: Strict = False,
) -> None:
    """Measure any file, folder or dataset: rows, lengths, languages, duplicates, what is wrong; no import needed."""
    from curate.pages import profile_page
    from curate.profiling import profile_paths
    from curate.read import Reading

    columns = _columns(map_)
    reading = Reading(format_, columns, encoding)
    paths = hub_paths(path)
    found = profile_paths(paths, reading, tokenizer, report, window=window, names=names, verbs=verbs, suggest=suggest)
    if as_json:
        console.show_json(found)
    else:
        profile_page(found, report, suggest)
    if strict and found["findings"]:
        raise typer.Exit(1)


@app.command()
def check(
    path: Paths,
    format_: Annotated[str | None, typer.Option("--format", help="Format of every row.")] = None,
    map_: Annotated[list[str] | None, typer.Option("--map", help="FIELD=COLUMN; may be repeated.")] = None,
    encoding: Annotated[str | None, typer.Option("--encoding", help="Encoding of text files.")] = None,
    as_json: Json = False,
) -> None:
    """The format doctor: each file's format and why, usable rows, every problem. Status 1 if rows would be lost."""
    from curate.check import check_paths
    from curate.pages import check_page
    from curate.read import Reading

    columns = _columns(map_)
    found = check_paths(hub_paths(path), Reading(format_, columns, encoding))
    _show(found, check_page, as_json=as_json)
    if found["problems"]:
        raise typer.Exit(1)


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of one that ships.", show_default=False)],
    datasets: Annotated[
        list[Path] | None, typer.Argument(help="Datasets to read instead of the recipe's inputs.", show_default=False)
    ] = None,
    *,
    out: Out,
    inputs: Annotated[
        list[Path] | None, typer.Option("--input", "-i", help="The same as an option; may be repeated.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting: stages.length.min_chars=80; may be repeated.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run, and run nothing.")] = False,
    memory: Memory = None,
    replace: Replace = False,
    report: ReportFile = None,
    as_json: Json = False,
    strict: Strict = False,
) -> None:
    """Carry out a recipe of cleaning stages on datasets; nothing is dropped without its reason."""
    from curate.pages import plan_page
    from curate.recipe import load_recipe
    from curate.running import plan, run_recipe

    loaded = load_recipe(
        recipe, settings_given(set_, "stages.length.min_chars=80"), [*(datasets or ()), *(inputs or ())]
    )
    if dry_run:
        planned = plan(loaded, out)
        if as_json:
            console.show_json(planned)
        else:
            plan_page(planned)
        return
    made = run_recipe(loaded, out, replace=replace, memory=_bytes(memory))
    _show_made(made, as_json=as_json, strict=strict, report=report)


@app.command()
def dedup(
    paths: Annotated[list[Path], typer.Argument(help="Datasets, or files of rows.", show_default=False)],
    out: Out,
    threshold: Annotated[float, typer.Option("--threshold", help="Jaccard similarity from which on rows go.")] = 0.8,
    ngram: Annotated[
        int | None, typer.Option("--ngram", help="Tokens of a shingle; 5, and 2 for short texts, if not given.")
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option("--on", help="Field to compare: instruction, answer, conversation, ...; may be repeated."),
    ] = None,
    shingle: Annotated[str, typer.Option("--shingle", help="words or characters.")] = "words",
    search: Annotated[str, typer.Option("--search", help="auto, exact or lsh.")] = "auto",
    keep: Annotated[str, typer.Option("--keep", help="Which row stays: first, last, longest, newest, best.")] = "first",
    by: Annotated[str | None, typer.Option("--by", help="Key of `extra` that says the date or score.")] = None,
    prefer: Annotated[
        list[str] | None, typer.Option("--prefer", help="A source whose rows rather stay; may be repeated.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="A dataset whose rows stay: drop rows that are like one of them.")
    ] = None,
    explore: Annotated[
        float | None, typer.Option("--explore", help="Also count what thresholds down to this one would drop.")
    ] = None,
    memory: Memory = None,
    replace: Replace = False,
    report: ReportFile = None,
    as_json: Json = False,
    strict: Strict = False,
) -> None:
    """Drop rows that are nearly the same as a row that stays; a one-stage recipe.

    Every pair is verified by its exact similarity. The report shows clusters side by side, the pairs at the border, and
    how many rows stay at other thresholds.
    """
    import dataclasses

    from curate.kernels.compiled import are_compiled
    from curate.near import warm_up
    from curate.recipe import one_stage
    from curate.running import as_datasets, run_recipe

    settings = {
        "threshold": threshold,
        "ngram": ngram,
        "field": (on[0] if len(on) == 1 else on) if on else None,
        "shingle": shingle,
        "search": search,
        "keep": keep,
        "by": by,
        "prefer": prefer,
        "against": str(against) if against is not None else None,
        "explore": explore,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    recipe = one_stage("near_duplicates", given, "curate dedup")
    if not are_compiled():
        console.note("compiling the kernels for this machine, once: about twenty seconds")
    warm_up()
    whole = dataclasses.replace(recipe, inputs=tuple(as_datasets(paths)))
    made = run_recipe(whole, out, replace=replace, memory=_bytes(memory))
    _show_made(made, as_json=as_json, strict=strict, report=report)


@app.command()
def scrub(
    path: Annotated[Path, typer.Argument(help="A dataset, or files of rows.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write the dataset to.", show_default=False)
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Write nothing: look whether any is left. Status 1 if there is.")
    ] = False,
    entities: Annotated[
        list[str] | None,
        typer.Option(
            "--entities", help="A type to look for (CN_MOBILE, ...); may be repeated. All but URL if not given."
        ),
    ] = None,
    names: Annotated[
        bool, typer.Option("--names", help="Look for names of people too, with a model; takes much longer.")
    ] = False,
    with_: Annotated[
        str | None,
        typer.Option("--with", help="tag (the default), surrogate (of the same shape), mask (asterisks) or drop_row."),
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="The key of new ids and surrogates; made in .assay/ if not given.")
    ] = None,
    keep_ids: Annotated[
        bool, typer.Option("--keep-ids", help="Keep the ids of rows, which are hashes of what rows said at first.")
    ] = False,
    replace: Replace = False,
    report: ReportFile = None,
    as_json: Json = False,
    strict: Strict = False,
) -> None:
    """Write a dataset again without personal data: rows, dropped rows, rejected input, names, sources and history.

    Names of people are looked for only with --names, and the report says so. Equal values get equal surrogates, in
    every dataset that is scrubbed with the same key.

    Rows get new ids by the key, because who knows the rest of a row could find a phone number by its old id. Datasets
    scrubbed with one key (rows, labels, scores) still belong together by id; their way back is known to the key alone.
    """
    from curate.pages import scrub_page, scrub_verified_page
    from curate.scrubbing import found_by_scrub, scrub, scrub_settings, verify_scrubbed

    settings = scrub_settings(entities, names, with_, key_file)
    if verify:
        left = verify_scrubbed(path, settings)
        _show(left, scrub_verified_page, as_json=as_json)
        if not left["ok"]:
            raise typer.Exit(1)
        return
    if out is None:
        raise UserError("where to write to is missing", hint=f"curate scrub {path} --out DIR")
    made = scrub(path, out, settings, keep_ids=keep_ids, replace=replace)
    more = found_by_scrub(made, settings)
    _show_made(made, as_json=as_json, strict=strict, report=report, more=more, page=lambda made: scrub_page(made, more))


@app.command()
def split(
    path: DatasetPath,
    out: Out,
    validation: Annotated[float, typer.Option("--validation", help="Share of the rows to validate on.")] = 0.05,
    test: Annotated[float, typer.Option("--test", help="Share of the rows to test on.")] = 0.05,
    by: Annotated[str, typer.Option("--by", help="cluster (chance), source (whole sources) or time.")] = "cluster",
    when: Annotated[str | None, typer.Option("--when", help="Key of `extra` with a date, for --by time.")] = None,
    on: Annotated[
        list[str] | None, typer.Option("--on", help="Field whose near duplicates must not leak; may be repeated.")
    ] = None,
    threshold: Annotated[float, typer.Option("--threshold", help="Similarity from which on rows would leak.")] = 0.8,
    seed: Annotated[int, typer.Option("--seed", help="Decides by chance.")] = 0,
    replace: Replace = False,
    as_json: Json = False,
    strict: Strict = False,
) -> None:
    """Fill the `split` column: train, validation and test, with near duplicates always on one side.

    Clusters of near duplicates are never cut, and a second search proves that no held-out row is like a row to train
    on.
    """
    from curate.importing import result_json
    from curate.pages import split_page
    from curate.splitting import split_dataset, split_from

    how = split_from(validation=validation, test=test, by=by, when=when, on=on, threshold=threshold, seed=seed)
    made = split_dataset(path, out, how, replace=replace)
    told = made.datasets[0].manifest.recipe
    found = result_json(made) | {"splits": told["rows"], "leaks": told["leaks"]}
    _show(found, lambda _: split_page(made), as_json=as_json)
    if strict and found["findings"]:
        raise typer.Exit(1)


@app.command()
def stages(
    name: Annotated[
        str | None, typer.Argument(help="Show this stage's settings and examples.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """List the cleaning stages; or one stage's settings and examples."""
    from curate.pages import stages_page
    from curate.recipe import describe_stages

    found = describe_stages(name)
    if as_json:
        console.show_json({"stages": found})
    else:
        stages_page(found, whole=name is not None)


@app.command()
def measures(
    name: Annotated[
        str | None, typer.Argument(help="Show how this one is measured, and examples.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """List the measures that rows can be filtered by, and that a profile shows."""
    from curate.measure import describe_measures
    from curate.pages import measures_page

    found = describe_measures(name)
    _show(
        {"measures": found} if as_json else found,
        lambda one: measures_page(one, whole=name is not None),
        as_json=as_json,
    )


@app.command()
def recipes(as_json: Json = False) -> None:
    """List the recipes that ship."""
    from curate.pages import recipes_page
    from curate.recipe import shipped_recipes

    found = shipped_recipes()
    if as_json:
        console.show_json({"recipes": found})
    else:
        recipes_page(found)


@app.command()
def formats(as_json: Json = False) -> None:
    """List the row formats that are read and written."""
    from curate.pages import formats_page
    from schemas.formats import FORMATS

    found = [
        {"name": one.name, "kind": one.kind, "description": one.description, "columns": list(one.fields)}
        for one in FORMATS.values()
    ]
    if as_json:
        console.show_json({"formats": found})
    else:
        formats_page(found)


@app.command()
def verify(path: DatasetPath, as_json: Json = False) -> None:
    """Check every hash and every count of a dataset. Status 1 if anything is not as it was written."""
    from curate.pages import verify_page
    from schemas.dataset import datasets_in, open_dataset, problems

    folders = datasets_in(path) or [open_dataset(path).folder]
    found = [
        {"kind": kind, "dataset": str(folder), "file": file, "message": message}
        for folder in folders
        for kind, file, message in problems(folder)
    ]
    if as_json:
        console.show_json({"dataset": str(path), "problems": found, "ok": not found})
    else:
        verify_page(folders, found)
    if found:
        raise typer.Exit(1)


@app.command()
def show(
    path: DatasetPath,
    dropped: Annotated[
        str | None,
        typer.Option("--dropped", help="Show rows dropped for this reason, or by this stage; `all` for every one."),
    ] = None,
    rejected: Annotated[bool, typer.Option("--rejected", help="Show input that never became a row.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many rows to show.")] = 10,
    as_json: Json = False,
) -> None:
    """Look into a dataset: what it holds, rows, dropped rows with their reasons, rejected input."""
    from curate.lineage import look
    from curate.pages import look_page

    found = look(path, dropped=dropped, rejected=rejected, limit=limit)
    _show(found, look_page, as_json=as_json)


@app.command()
def why(
    path: DatasetPath,
    row_id: Annotated[
        str, typer.Argument(help="A row's id, its first digits, your own id of it, or FILE:LINE.", show_default=False)
    ],
    as_json: Json = False,
) -> None:
    """A row's whole way: file and line, each stage's verdict, what it was a copy of."""
    from curate.lineage import trace
    from curate.pages import trace_page

    found = trace(path, row_id)
    _show(found, trace_page, as_json=as_json)


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(help="A dataset.", show_default=False)],
    b: Annotated[Path, typer.Argument(help="Another one.", show_default=False)],
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="How many examples of each to show.")] = 5,
    as_json: Json = False,
) -> None:
    """What differs between two datasets: rows added, removed and changed; by reason, source and task."""
    from curate.lineage import difference
    from curate.pages import diff_page

    found = difference(a, b, limit=limit)
    _show(found, diff_page, as_json=as_json)


@app.command()
def export(
    path: DatasetPath,
    format_: Annotated[
        str, typer.Option("--format", help="Format to write; see `curate formats`.", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="File (.jsonl .json .csv .tsv .parquet .xlsx, .gz or .zst) or folder.",
            show_default=False,
        ),
    ],
    split: Annotated[
        str | None, typer.Option("--split", help="Write this split only; a folder gets a file of each if not given.")
    ] = None,
    extra: Annotated[bool, typer.Option(help="Write fields that no column holds, as they were imported.")] = True,
    escape_formulas: Annotated[
        bool, typer.Option("--escape-formulas", help="Put ' before cells of CSV that a spreadsheet would run.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite the file.")] = False,
    as_json: Json = False,
    strict: Strict = False,
) -> None:
    """Write a dataset's rows in a format that trainers read; rows the format cannot express are listed beside it."""
    from curate.exporting import export_dataset
    from curate.pages import export_page

    found = export_dataset(
        path, format_, out, split=split, extras=extra, escape_formulas=escape_formulas, replace=replace
    )
    _show(found, export_page, as_json=as_json)
    if strict and found["rejected"]:
        raise typer.Exit(1)


def main() -> None:
    """Entry point of the `curate` command."""
    # Reading makes millions of small objects and no cycles: with the usual thresholds, looking for cycles costs a
    # fifth of the time.
    gc.set_threshold(100_000, 50, 100)
    console.guarded(lambda: app(prog_name="curate"))


if __name__ == "__main__":
    main()
