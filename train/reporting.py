"""What a finished run says about itself: report, model card, lineage, and the files it is served with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import yaml

from schemas.excerpt import excerpt
from schemas.manifest import library_versions
from train.chat_template import serving_template
from train.data import Piece
from train.model import copy_tokenizer, write_chat_template, write_end_of_turn, write_stop_ids
from train.running import CARD, LINEAGE, REPORT, REPORT_JSON, Job, Tokens
from train.trainer import LOG, read_log

_LIBRARIES = ("assay", "torch", "transformers", "peft", "bitsandbytes", "accelerate")

_CURVE_POINTS = 400
_KEEP_LOGGED = 2_000


def report_of(job: Job, tokens: Tokens, facts: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Everything `train show` shows of a run, as JSON has it."""
    told = tokens.told
    return {
        "method": job.recipe.method,
        "adapter": job.recipe.adapter_name,
        "whole_model": job.recipe.adapter.whole_model,
        "out": str(job.out),
        **facts,
        "fingerprint": job.fingerprint,
        "base": {"name": job.model.name, "folder": str(job.model.path), "hash": job.identity["model"]},
        "device": job.policy.said(),
        "template": {
            "name": job.chosen.template.name,
            "ours": job.chosen.template.ours,
            "because": job.chosen.because,
        },
        "data": [
            {
                "path": str(one.folder),
                "name": one.manifest.name,
                "fingerprint": one.manifest.fingerprint,
                "digest": one.manifest.digest,
                "rows": one.rows,
            }
            for material in job.materials
            for one in material.datasets
        ],
        "split_by": job.material.split_by,
        "rows": {"train": len(tokens.train), "validation": len(tokens.validation) if tokens.validation else 0},
        "row_tokens": {
            "train": int(tokens.train.lengths.sum()),
            "supervised": tokens.train.supervised,
            "longest": int(tokens.train.lengths.max()),
        },
        "sequences": tokens.sequences,
        "set_aside": told.reasons,
        "turns_dropped": told.turns_dropped,
        "answers_cut": told.answers_cut,
        "special_as_text": told.special_as_text,
        "sources": [
            {**source.model_dump(), "rows": material.rows_by_source.get(name, 0)}
            for material in job.materials
            for name, source in material.sources.items()
            if material.rows_by_source.get(name)
        ],
        "allowed": sorted({name for material in job.materials for name in material.allowed}),
        "warnings": job.warnings,
        "recipe": job.recipe.filled(),
        "examples": [[{"text": one.text, "weight": one.weight} for one in row] for row in tokens.examples],
        "log": thinned(log, _KEEP_LOGGED),
        "versions": library_versions(_LIBRARIES),
        **({"pairs": tokens.pairs} if tokens.pairs is not None else {}),
    }


def thinned(log: Sequence[Mapping[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most so many of the logged steps, evenly; every look at validation stays."""
    steps = [one for one in log if "eval_loss" not in one]
    stride = max(1, -(-len(steps) // most))
    kept = {id(one) for one in [*steps[::stride], *steps[-1:]]}
    return [dict(one) for one in log if "eval_loss" in one or id(one) in kept]


def finish(job: Job, tokens: Tokens, folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write everything beside the adapter's own files. Returns the report."""
    from train.report_page import run_page

    log = read_log(folder / LOG)
    report = report_of(job, tokens, facts, log)
    (folder / REPORT_JSON).write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
    (folder / REPORT).write_text(run_page(report), encoding="utf-8")
    (folder / CARD).write_text(model_card(report), encoding="utf-8")
    (folder / LINEAGE).write_bytes(orjson.dumps(_lineage(job, tokens), option=orjson.OPT_INDENT_2))
    _write_served(job, folder)
    return report


def _write_served(job: Job, folder: Path) -> None:
    """Beside what was trained, what it is served with: tokenizer, chat template and end of turn as it was trained."""
    copy_tokenizer(job.model.path, folder)
    for path in folder.glob("*.safetensors"):
        path.chmod((folder / LOG).stat().st_mode)  # safetensors makes its files readable to their owner alone
    if job.recipe.settings.eos_token is not None:
        write_end_of_turn(folder, job.recipe.settings.eos_token)
    if job.chosen.asked_for:
        write_chat_template(folder, serving_template(job.chosen.template))
    if job.recipe.adapter.whole_model:
        write_stop_ids(folder, job.stop_ids)


def _lineage(job: Job, tokens: Tokens) -> dict[str, Any]:
    """From the adapter to the rows: which rows of which datasets were trained on, looked at, and set aside."""
    aside = [one.id for one in tokens.told.set_aside]
    return {
        "fingerprint": job.fingerprint,
        "base": {"name": job.model.name, "hash": job.identity["model"]},
        "datasets": [
            {
                "path": str(one.folder),
                "name": one.manifest.name,
                "fingerprint": one.manifest.fingerprint,
                "digest": one.manifest.digest,
                "chain": [
                    {key: link.get(key) for key in ("command", "name", "fingerprint")} for link in one.manifest.chain
                ],
            }
            for material in job.materials
            for one in material.datasets
        ],
        "rows": {
            "train": tokens.train.row_ids[: len(tokens.train) - sum(one["rows"] for one in tokens.replay)],
            **({"replay": {one["name"]: one["row_ids"] for one in tokens.replay}} if tokens.replay else {}),
            "validation": tokens.validation.row_ids if tokens.validation else [],
            "set_aside": aside,
        },
    }


def model_card(report: Mapping[str, Any]) -> str:
    """The model card: YAML front matter that hubs read, then a page for people."""
    licences = sorted({str(one["licence"]) for one in report["sources"] if one.get("licence")})
    front: dict[str, Any] = {
        "base_model": report["base"]["name"],
        "library_name": "transformers" if report["whole_model"] else "peft",
        "pipeline_tag": "text-generation",
        "tags": ["assay", report["method"], report["adapter"]],
    }
    rows, loss, looked = report["rows"], report.get("loss") or {}, report.get("eval")
    lines = [
        "---",
        yaml.safe_dump(front, allow_unicode=True, sort_keys=False).rstrip(),
        "---",
        "",
        f"# {_inline(Path(report['out']).name)}",
        "",
        f"{_inline(str(report['base']['name']))} adapted by `{report['adapter']}`, trained by "
        f"`train {report['method']}` on {rows['train']:,} rows ({report['row_tokens']['train']:,} tokens, "
        f"{report['row_tokens']['supervised']:,} of them supervised).",
        "",
        "| | |",
        "|---|---|",
        f"| steps | {report['steps']:,} of {report['planned_steps']:,} planned |",
        f"| loss | {_figure(loss.get('first'))} → {_figure(loss.get('last'))} |",
    ]
    if looked:
        lines.append(
            f"| loss on validation ({rows['validation']:,} rows) | {_figure(looked['first'])} → "
            f"{_figure(looked['last'])}, best {_figure(looked['best'])} |"
        )
        if "accuracy" in looked:
            accuracy = looked["accuracy"]
            lines.append(
                f"| held-out pairs put in order | {_share(accuracy['first'])} → {_share(accuracy['last'])}, best step "
                f"{_share(accuracy['best'])} |"
            )
    if pairs := report.get("pairs"):
        lines.append(
            f"| answers, on average | {pairs['chosen_tokens']:g} tokens chosen, {pairs['rejected_tokens']:g} rejected |"
        )
    for one in report.get("replay") or ():
        lines.append(f"| replayed against forgetting | {_inline(replay_line(one))} |")
    planned = report.get("planned") or {}
    memory = f"{report['memory_gb']:.2f} GB"
    if planned.get("memory_gb"):
        memory += f" (planned {planned['memory_gb']['low']:.2f}–{planned['memory_gb']['high']:.2f})"
    lines += [
        f"| memory, at most | {memory} |",
        f"| time | {report['seconds']:,.0f} s |",
        f"| trained parameters | {report['trainable_parameters']:,} of {report['parameters']:,} |",
        f"| device | {_inline(report['device'])} |",
        f"| chat template | {_inline(report['template']['name'])}: {_inline(report['template']['because'])} |",
        f"| fingerprint | `{report['fingerprint']}` |",
        "",
        "## Data",
        "",
        "| dataset | rows | fingerprint |",
        "|---|---:|---|",
        *(f"| {_inline(one['name'])} | {one['rows']:,} | `{one['fingerprint'][:16]}` |" for one in report["data"]),
        "",
        "| source | rows | licence | training | personal data |",
        "|---|---:|---|---|---|",
        *(
            f"| {_inline(one['name'])} | {one['rows']:,} | {_inline(one.get('licence') or 'not stated')} "
            f"| {one['training']}{' (allowed by name)' if one['name'] in report['allowed'] else ''} "
            f"| {one['personal_data']} |"
            for one in report["sources"]
        ),
        "",
    ]
    if len(licences) > 1:
        lines += [f"Several licences apply to the data: {', '.join(map(_inline, licences))}.", ""]
    if report["allowed"]:
        lines += [
            f"**These sources deny training and were allowed by name: {', '.join(map(_inline, report['allowed']))}.**",
            "",
        ]
    if report["warnings"]:
        lines += ["## Warnings", "", *(f"- {_inline(one)}" for one in report["warnings"]), ""]
    lines += [
        "## Settings",
        "",
        "```yaml",
        yaml.safe_dump(report["recipe"], allow_unicode=True, sort_keys=False).rstrip().replace("```", "'''"),
        "```",
        "",
        "`lineage.json` names every row; `log.jsonl` and `report.html` have the curves; `set_aside.jsonl`, where "
        "there is one, the rows that could not be used and why.",
        "",
    ]
    return "\n".join(lines)


def replay_line(one: Mapping[str, Any]) -> str:
    """What is said of a replayed dataset in one line."""
    said = f"{one['rows']:,} rows of {one['name']}, {one['tokens']:,} tokens, {_share(one['of_all_tokens'])} of all"
    loss = one.get("loss")
    return said + (f"; its held-out rows: loss {loss['first']:.4f} → {loss['last']:.4f}" if loss else "")


def _figure(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, (int, float)) else "–"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _inline(text: str) -> str:
    """Text that cannot break out of a line or a cell of Markdown, nor start HTML."""
    return " ".join(re.sub(r"([\\`*_{}\[\]<>#|!])", r"\\\1", excerpt(text, 300)).split())


def pieces(example: Sequence[Mapping[str, Any]]) -> list[Piece]:
    """A row in a report, as it was shown before the first step."""
    return [Piece(str(one["text"]), float(one["weight"])) for one in example]
