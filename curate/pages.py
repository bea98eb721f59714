"""What commands show on a terminal: each takes the same data that `--json` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schemas.console import count, duration, heading, say, share, size, table
from schemas.excerpt import excerpt

_SEVERITY = {"high": "bold red", "medium": "yellow", "low": "dim"}


def _findings(findings: Sequence[dict[str, Any]]) -> None:
    if not findings:
        return
    heading("Findings")
    for one in findings:
        example = one.get("example")
        if isinstance(example, dict):
            example = f"{example.get('where', '')} {example.get('excerpt', '')}".strip()
        say(f"{one['severity']:<7} {one['kind']}: {count(one['count'])}", style=_SEVERITY[one["severity"]])
        if example:
            say(f"        e.g. {excerpt(example, 110)}")
        say(f"        {one['fix']}")


def _flow(counts: dict[str, Any]) -> str:
    """The balance of a dataset in one line."""
    parts = [f"{counts['rows_in']:,} in"]
    for name in ("dropped", "rejected"):
        total = sum(counts[name].values())
        if total:
            parts.append(f"− {total:,} {name}")
    for sign, name in (("−", "merged"), ("+", "made")):
        if counts[name]:
            parts.append(f"{sign} {counts[name]:,} {name}")
    return f"{' '.join(parts)} = {counts['rows_out']:,} rows"


def _steps(steps: Sequence[dict[str, Any]]) -> None:
    if not steps:
        return
    heading("Stages")
    rows = []
    for step in steps:
        dropped = ", ".join(f"{reason} {number:,}" for reason, number in step["dropped"].items())
        rows.append(
            (
                step["step"],
                step["rows_in"],
                sum(step["dropped"].values()),
                step["edited"],
                dropped,
                duration(step["seconds"]),
            )
        )
    table(("stage", "rows in", "dropped", "rewritten", "reasons", "time"), rows, numbers=(1, 2, 3, 5))


def split_page(made: Any) -> None:
    """A dataset that was split."""
    made_page(made)
    told = made.datasets[0].manifest.recipe
    total = sum(told["rows"].values())
    heading("Splits")
    table(
        ("split", "rows", "share"),
        [(name, rows, share(rows, total)) for name, rows in told["rows"].items()],
        numbers=(1, 2),
    )
    say(f"{told['clusters']:,} clusters, none cut; near duplicates between splits: {told['leaks']}")


def scrub_page(made: Any, found: dict[str, Any]) -> None:
    """A dataset that was scrubbed, and what was found by `curate.scrubbing.found_by_scrub`."""
    if not found["names"]:
        say()
        say("names were not looked for (--names)", style="yellow")
    made_page(made)
    _personal_data(found["personal_data"])
    if found["key_file"]:
        say(f"key: {found['key_file']}   keep it, away from the dataset: it tells what ids and surrogates stand for")
    say(f"look again: curate scrub --verify {made.datasets[0].folder}")


def scrub_verified_page(found: dict[str, Any]) -> None:
    """What is left in a dataset that was scrubbed."""
    say()
    if not found["names"]:
        say("names were not looked for (--names)", style="yellow")
    if found["ok"]:
        say(f"nothing is left in {found['dataset']}: {found['rows']:,} rows and every other file", style="bold green")
        return
    say(f"personal data is left in {found['dataset']}", style="bold red")
    _personal_data(found["personal_data"])
    heading("Where")
    shown = [
        (one["type"], f"{one['file']} {one['where']}".strip(), one["field"], excerpt(one["excerpt"], 60))
        for one in found["left"][:20]
    ]
    table(("type", "where", "field", "excerpt"), shown)
    if len(found["left"]) > len(shown):
        say("--json lists more")


def _personal_data(types: dict[str, int]) -> None:
    if types:
        heading("Personal data")
        table(("type", "values"), list(types.items()), numbers=(1,))


def made_page(made: Any) -> None:
    """What a command made."""
    for dataset in made.datasets:
        manifest = dataset.manifest
        say()
        verb = "already done:" if made.already else "wrote"
        say(
            f"{verb} {dataset.folder}  ({manifest.kind} rows, fingerprint {manifest.fingerprint[:12]})",
            style="bold green",
        )
        say(_flow(manifest.counts.model_dump()))
        if manifest.counts.rejected:
            listed = ", ".join(f"{reason} {number:,}" for reason, number in manifest.counts.rejected.items())
            say(f"rejected: {listed}   (curate show {dataset.folder} --rejected)")
        files = [one for one in manifest.inputs if one.format]
        if files:
            heading("Files")
            table(
                ("file", "format", "encoding", "rows", "size"),
                [
                    (excerpt(one.path, 60), one.format or "", one.encoding or "–", one.rows or 0, size(one.bytes or 0))
                    for one in files[:20]
                ],
                numbers=(3, 4),
            )
            if len(files) > 20:
                say(f"and {len(files) - 20:,} more files")
        _steps([step.model_dump() for step in manifest.steps])
        if manifest.counts.dropped:
            say()
            say(f"see what was dropped: curate show {dataset.folder} --dropped REASON")
        _findings(manifest.findings)
        say()
        say(f"report: {dataset.folder / 'report.html'}")


def profile_page(profile: dict[str, Any], report: Path | None, suggested: Path | None = None) -> None:
    """A profile."""
    rows = profile["rows"]
    say()
    formats = ", ".join(f"{name} {number:,}" for name, number in profile["formats"].items())
    say(f"{rows:,} rows, {profile['files'] or 0:,} file(s), {size(profile['bytes'] or 0)}   {formats}", style="bold")
    rejected = sum(profile["rejected"].values())
    if rejected:
        say(f"{rejected:,} rows could not be read; `curate check` says which and why", style="yellow")
    if not rows:
        return
    say(f"{profile['clean_rows']:,} rows ({share(profile['clean_rows'], rows)}) have none of the flaws below")
    for title, key in (("Languages", "languages"), ("Tasks", "tasks"), ("Sources", "sources"), ("Turns", "turns")):
        known = profile[key]
        if len(known) > 1 or key == "languages":
            listed = [
                f"{excerpt(name, 30)}: {number:,} ({share(number, rows)})" for name, number in list(known.items())[:8]
            ]
            say(f"{title + ':':<11} {', '.join(listed)}{' …' if len(known) > 8 else ''}")
    heading("Lengths")
    estimated = " (estimated)" if profile["token_counts"]["estimated"] else ""
    lengths = []
    for unit, key in (("characters", "lengths"), ("words", "words"), (f"tokens{estimated}", "tokens")):
        for field, found in profile[key].items():
            numbers = [round(found[name]) for name in ("min", "p50", "p95", "p99", "max")]
            lengths.append((field, unit, *numbers))
    table(("field", "unit", "min", "median", "p95", "p99", "max"), lengths, numbers=range(2, 7))
    over = profile["sequences"]["over"]
    if any(over.values()):
        say(
            "longer than "
            + ", ".join(f"{int(limit):,} tokens: {number:,}" for limit, number in over.items() if number)
            + estimated
        )
    if window := profile["sequences"]["window"]:
        guess = f", for layers {window['hidden_size']} wide" + (" (a guess)" if window["assumed"] else "")
        say(
            f"longer than the model's window of {window['tokens']:,} tokens: {window['rows']:,} rows, "
            f"{window['share_of_tokens']:.1%} of the tokens and {window['share_of_compute']:.1%} of the compute{guess}"
        )
    heading("Flaws")
    table(
        ("check", "rows", "share"),
        [(name, number, share(number, rows)) for name, number in profile["checks"].items()],
        numbers=(1, 2),
    )
    if profile["personal_data"]:
        seen = ", ".join(f"{name} {number:,}" for name, number in profile["personal_data"].items())
        say(f"Rows with personal data: {seen}")
    if not profile["names_looked_for"]:
        say("names of people were not looked for (--names)", style="dim")
    signals = [(name, one) for name, one in profile["measures"]["yes"].items() if one["rows"]]
    if signals:
        heading("Signals")
        table(
            ("measure", "field", "rows", "share"),
            [(name, one["field"], one["rows"], share(one["rows"], one["of"])) for name, one in signals],
            numbers=(2, 3),
        )
    for title, key in (
        ("Most repeated instructions", "instructions"),
        ("Most repeated openings of answers", "openings"),
    ):
        repeated = profile["repeated"][key]
        if repeated:
            heading(title)
            table(("rows", "text"), [(one["rows"], excerpt(one["excerpt"], 80)) for one in repeated], numbers=(0,))
    _findings(profile["findings"])
    say()
    say(f"report: {report}" if report else "write this as a page to forward: --report FILE.html")
    say(f"recipe: {suggested}" if suggested else "write a recipe that mends what was found: --suggest recipe.yaml")


def check_page(found: dict[str, Any]) -> None:
    """What the format doctor found."""
    say()
    table(
        ("file", "format", "encoding", "rows", "usable", "why"),
        [
            (
                excerpt(one["name"], 50),
                one["format"] or "unknown",
                one["encoding"] or "–",
                one["rows"],
                one["usable"],
                excerpt(one["why"], 70),
            )
            for one in found["files"][:50]
        ],
        numbers=(3, 4),
    )
    if len(found["files"]) > 50:
        say(f"and {len(found['files']) - 50:,} more files")
    if found["passed_over"]:
        say(
            f"{len(found['passed_over']):,} other files hold no rows, e.g. {excerpt(found['passed_over'][0], 80)}",
            style="dim",
        )
    if not found["problems"] and found["rows"]:
        say()
        say(f"all {found['rows']:,} rows are usable", style="bold green")
        return
    heading("Problems")
    for one in found["problems"][:40]:
        say(f"{one['kind']}: {one['count']:,} in {excerpt(one['file'], 80)}", style="bold yellow")
        for example in one["examples"][:3]:
            say(f"    {excerpt(example['file'], 60)}:{example['line']}: {example['message']}")
            if example["held"]:
                say(f"        {excerpt(example['held'], 100)}", style="dim")
        say(f"    do: {one['hint']}")
    lost = found["rows"] - found["usable"]
    say()
    say(f"{found['usable']:,} of {found['rows']:,} rows are usable; {lost:,} would be rejected", style="bold red")


def plan_page(planned: dict[str, Any]) -> None:
    """What a run would do."""
    say()
    say(
        f"{planned['recipe']['name']}: {planned['rows_in']:,} {planned['kind']} rows → "
        f"{planned['dataset']} ({planned['state']})",
        style="bold",
    )
    for one in planned["inputs"]:
        say(f"  reads {one['path']}: {one['rows']:,} rows")
    heading("Stages")
    for number, stage in enumerate(planned["recipe"]["stages"], start=1):
        settings = ", ".join(f"{key}: {value}" for key, value in stage.items() if key not in ("use", "name"))
        say(f"  {number:>2}. {stage.get('name', stage['use'])}   {settings}")
    say()
    say(f"fingerprint {planned['fingerprint'][:12]}; no row was read, and nothing was written")


def stages_page(found: Sequence[dict[str, Any]], *, whole: bool) -> None:
    """The stages there are, or one of them."""
    if not whole:
        table(("stage", "kind", "what it does"), [(one["name"], one["kind"], one["description"]) for one in found])
        say()
        say("settings and examples: curate stages NAME")
        return
    for one in found:
        say()
        say(f"{one['name']} ({one['kind']}, version {one['version']})", style="bold")
        say(one["doc"])
        settings_table(one["settings"])
        heading("Examples")
        rows = []
        for example in one["examples"]:
            shown = "; ".join(f"{key}: {value}" for key, value in example["row"].items())
            verdict = f"dropped: {example['reason']}" if example["reason"] else "kept"
            if example["after"]:
                verdict = "becomes " + "; ".join(f"{key}: {value}" for key, value in example["after"].items())
            rows.append(
                (
                    excerpt(shown, 90),
                    excerpt(verdict, 60),
                    ", ".join(f"{key}: {value}" for key, value in example["settings"].items()),
                )
            )
        table(("row", "verdict", "settings"), rows)


def measures_page(found: Sequence[dict[str, Any]], *, whole: bool) -> None:
    """The measures there are, or one of them."""
    if not whole:
        table(
            ("measure", "gives", "what it is"),
            [(one["name"], one["unit"] or one["type"], one["description"]) for one in found],
        )
        say()
        say("how it is measured, and examples: curate measures NAME; in a recipe: `- use: where` with `column: NAME`")
        return
    for one in found:
        say()
        say(
            f"{one['name']} ({one['unit'] or one['type']}; of the {one['field']} unless another is named)", style="bold"
        )
        say(one["doc"])
        heading("Examples")
        rows = [
            (example["value"], excerpt("; ".join(f"{key}: {value}" for key, value in example["row"].items()), 110))
            for example in one["examples"]
        ]
        table(("value", "row"), rows)


def settings_table(settings: Sequence[dict[str, Any]]) -> None:
    """Settings of a stage or collector."""
    if not settings:
        return
    rows = []
    for one in settings:
        default = "required" if one["required"] else str(one["default"])
        rows.append((one["name"], one["type"], excerpt(default, 40), one["description"]))
    table(("setting", "type", "default", "meaning"), rows)


def collectors_page(found: Sequence[dict[str, Any]]) -> None:
    """The collectors there are."""
    for one in found:
        say()
        say(f"{one['name']}: {one['description']}", style="bold")
        say(f"reads {', '.join(one['files'])}")
        settings_table(one["settings"])


def recipes_page(found: Sequence[dict[str, Any]]) -> None:
    """The recipes that ship."""
    table(
        ("recipe", "what it does", "stages"),
        [(one["name"], one["description"], ", ".join(one["stages"])) for one in found],
    )
    say()
    say(
        "run one: curate run NAME --input DATASET --out DIR; copy one to change it: "
        + (found[0]["path"] if found else "")
    )


def formats_page(found: Sequence[dict[str, Any]]) -> None:
    """The row formats there are."""
    table(("format", "rows", "what it is"), [(one["name"], one["kind"], one["description"]) for one in found])


def verify_page(folders: Sequence[Path], found: Sequence[dict[str, Any]]) -> None:
    """What verification found."""
    if not found:
        for folder in folders:
            say(f"{folder}: every hash and every count is right", style="bold green")
        return
    for one in found:
        say(f"{one['kind']}: {one['dataset']}/{one['file']}: {one['message']}", style="bold red")


def _row(row: dict[str, Any]) -> None:
    told = [row["id"], row["where"], *(f"{key}: {row[key]}" for key in ("source", "task", "lang") if row.get(key))]
    say("  ".join(told), style="bold")
    if row.get("reason"):
        say(
            f"  dropped by {row['step']}: {row['reason']}{' — ' + row['because'] if row['because'] else ''}",
            style="yellow",
        )
    for turn in row["turns"]:
        say(f"  {turn['who']:<9} {turn['text']}")
    say()


def look_page(found: dict[str, Any]) -> None:
    """A look into a dataset."""
    say()
    say(f"{found['dataset']}: {found['kind']} rows made by {found['command']}, {found['created']}", style="bold")
    say(_flow(found["counts"]))
    for other in found["others"]:
        say(f"beside it: {other}", style="dim")
    if found["showing"] == "rows":
        if found["sources"]:
            heading("Sources")
            table(
                ("source", "kind", "licence", "training", "personal data", "rows"),
                [
                    (
                        excerpt(one["name"], 40),
                        one["kind"],
                        one["licence"] or "not stated",
                        one["training"],
                        one["personal_data"],
                        one["rows"],
                    )
                    for one in found["sources"]
                ],
                numbers=(5,),
            )
        _steps(found["steps"])
    for name in ("dropped", "rejected"):
        counts = found["counts"][name]
        if counts:
            say(f"{name}: " + ", ".join(f"{reason} {number:,}" for reason, number in counts.items()))
    say(
        "e-mail addresses, numbers and keys are masked on the screen only; the dataset holds them as they were",
        style="dim",
    )
    heading(found["showing"])
    for row in found.get("rows", ()):
        _row(row)
    if found["showing"] == "rejected" and not found["rejected"]:
        say("none here; what an import rejected is kept with the import's own dataset")
    for one in found.get("rejected", ()):
        say(f"{excerpt(one['file'], 80)}:{one['line']}  {one['reason']}: {one['detail']}", style="bold")
        say(f"  {one['held']}")
        say()


def trace_page(found: dict[str, Any]) -> None:
    """A row's whole way."""
    say()
    say(f"{found['id'] or found['where']}: {found['fate']} in {found['in']}", style="bold")
    say(f"from {found['where']}")
    heading("Its way")
    for number, one in enumerate(found["way"], start=1):
        verdict = f"{one['verdict']} {one['reason']}" if one["reason"] else one["verdict"]
        style = "red" if one["verdict"] in ("dropped", "rejected") else ""
        say(f"  {number:>2}. {one['step']}: {verdict}{' — ' + one['because'] if one['because'] else ''}", style=style)
    for path in found["missing"]:
        say(f"  (the dataset {path} was not found, so what happened in it is not shown)", style="dim")
    heading("What it says")
    for turn in found["row"]["turns"]:
        say(f"  {turn['who']:<9} {turn['text']}")


def diff_page(found: dict[str, Any]) -> None:
    """What differs between two datasets."""
    say()
    say(
        f"{found['a']['dataset']}: {found['a']['rows']:,} rows   {found['b']['dataset']}: {found['b']['rows']:,} rows",
        style="bold",
    )
    if found["same"]:
        say("they hold the same rows", style="bold green")
        return
    rows = found["rows"]
    say(
        f"{rows['added']:,} added, {rows['removed']:,} removed, {rows['changed']:,} changed, "
        f"{rows['unchanged']:,} the same"
        + (f", {rows['same_content']:,} the same under another source" if rows["same_content"] else "")
    )
    if found["columns_changed"]:
        say(
            "columns that changed: "
            + ", ".join(f"{name} in {number:,} rows" for name, number in found["columns_changed"].items())
        )
    if found["removed_by_reason"]:
        heading("Why rows are gone")
        table(("reason", "rows"), list(found["removed_by_reason"].items()), numbers=(1,))
    for title, key in (("By source", "by_source"), ("By task", "by_task"), ("By language", "by_language")):
        if any(one["a"] != one["b"] for one in found[key].values()):
            heading(title)
            table(
                ("", "a", "b", "change"),
                [(name, one["a"], one["b"], one["b"] - one["a"]) for name, one in found[key].items()],
                numbers=(1, 2, 3),
            )
    for name in ("added", "removed"):
        if found["examples"][name]:
            heading(name)
            for row in found["examples"][name]:
                _row(row)
    if found["examples"]["changed"]:
        heading("changed")
        for pair in found["examples"]["changed"]:
            _row(pair["before"])
            say("  became")
            _row(pair["after"])


def export_page(found: dict[str, Any]) -> None:
    """What was written."""
    where = found["out"] if len(found["files"]) == 1 else f"{len(found['files'])} files"
    say(
        f"wrote {found['rows_out']:,} of {found['rows_in']:,} rows to {where} as {found['format']}",
        style="bold green",
    )
    if len(found["files"]) > 1:
        for file, rows in found["files"].items():
            say(f"  {rows:>9,} rows  {file}")
    if found["dataset_info"]:
        say(f"LLaMA-Factory entry in {found['dataset_info']}")
    for reason, number in found["rejected"].items():
        say(f"not written: {number:,}, {reason}", style="yellow")
    if found["rejected_file"]:
        say(f"they are listed in {found['rejected_file']}")
    _findings(found["findings"])
