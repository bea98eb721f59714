"""What a dataset folder says to other tools: the Hugging Face dataset card and the Croissant description."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import yaml

from schemas.manifest import Manifest
from schemas.rows import columns

CARD = "README.md"
CROISSANT = "croissant.json"

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_WHAT = {
    "chat": "conversations to fine-tune on",
    "candidates": "prompts with several answers",
    "preference": "prompts with a better and a worse answer",
    "text": "plain texts",
    "label": "labels given to rows of another dataset",
    "score": "scores of rows of another dataset",
}


def card(manifest: Manifest, languages: list[str]) -> str:
    """The dataset card: YAML front matter that names the data files, then a page for people."""
    rows = manifest.counts.rows_out
    front: dict[str, Any] = {
        "configs": [{"config_name": "default", "data_files": "data/*.parquet"}],
        "size_categories": [next((name for limit, name in _SIZES if rows < limit), "n>10M")],
        "tags": ["assay", manifest.kind],
    }
    licences = sorted({source.licence for source in manifest.sources.values() if source.licence})
    if len(licences) == 1:
        front["license"] = licences[0].lower() if licences[0].lower() in _HUB_LICENCES else "other"
        if front["license"] == "other":
            front["license_name"] = licences[0]
    plain = [code for code in languages if len(code) == 2]
    if plain:
        front["language"] = plain
    counts = manifest.counts
    lines = [
        "---",
        yaml.safe_dump(front, allow_unicode=True, sort_keys=False).rstrip(),
        "---",
        "",
        f"# {_inline(manifest.name)}",
        "",
        f"{rows:,} rows of kind `{manifest.kind}`: {_WHAT[manifest.kind]}.",
        "",
        "| rows in | dropped | rejected | merged | made | rows out |",
        "|---:|---:|---:|---:|---:|---:|",
        f"| {counts.rows_in:,} | {sum(counts.dropped.values()):,} | {sum(counts.rejected.values()):,} "
        f"| {counts.merged:,} | {counts.made:,} | {rows:,} |",
        "",
    ]
    if manifest.sources:
        lines += ["| source | kind | licence | training | personal data | rows |", "|---|---|---|---|---|---:|"]
        for name, source in manifest.sources.items():
            told = (name, source.kind, source.licence or "not stated", source.training, source.personal_data)
            lines.append(f"| {' | '.join(_inline(cell) for cell in told)} | {manifest.rows_by_source.get(name, 0):,} |")
        lines.append("")
    lines += [
        'Read it with `datasets.load_dataset(path)`, `polars.read_parquet(f"{path}/data")` or DuckDB.',
        "`manifest.json` holds every count, hash and setting;",
        "`dropped/` and `rejected.jsonl` hold what was left out and why.",
        "",
    ]
    return "\n".join(lines)


_HUB_LICENCES = frozenset(
    [
        "apache-2.0",
        "mit",
        "cc0-1.0",
        "cc-by-4.0",
        "cc-by-sa-4.0",
        "cc-by-nc-4.0",
        "cc-by-nc-sa-4.0",
        "cc-by-nd-4.0",
        "odc-by",
        "odbl",
        "openrail",
        "bsd-3-clause",
        "bsd-2-clause",
        "gpl-3.0",
        "lgpl-3.0",
        "agpl-3.0",
        "mpl-2.0",
        "unlicense",
        "pddl",
    ]
)


def _inline(text: str) -> str:
    """Text that cannot break out of a line or a table cell of Markdown, nor start HTML."""
    for char in "\\`*_{}[]<>#|!":
        text = text.replace(char, "\\" + char)
    return " ".join(text.split())


_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(manifest: Manifest) -> str:
    """The Croissant 1.0 description (JSON-LD): every shard with its SHA-256, and the plain columns of a row."""
    types = {pl.String: "sc:Text", pl.Int64: "sc:Integer", pl.Float64: "sc:Float", pl.Boolean: "sc:Boolean"}
    licences = sorted({source.licence for source in manifest.sources.values() if source.licence})
    files: list[dict[str, Any]] = [
        {
            "@type": "cr:FileObject",
            "@id": shard.path,
            "name": shard.path.replace("/", "-"),
            "contentUrl": shard.path,
            "contentSize": f"{shard.bytes} B",
            "encodingFormat": "application/x-parquet",
            "sha256": shard.sha256,
        }
        for shard in manifest.shards
    ]
    files.append(
        {
            "@type": "cr:FileSet",
            "@id": "shards",
            "name": "shards",
            "description": "every file of rows",
            "encodingFormat": "application/x-parquet",
            "includes": "data/*.parquet",
        }
    )
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"rows/{name}",
            "name": name,
            "dataType": types[type(dtype)],
            "source": {"fileSet": {"@id": "shards"}, "extract": {"column": name}},
        }
        for name, dtype in columns(manifest.kind).items()
        if type(dtype) in types
    ]
    said = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": manifest.name,
        "description": f"{manifest.counts.rows_out} rows of kind {manifest.kind}: {_WHAT[manifest.kind]}",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": " AND ".join(licences) or "NOASSERTION",
        "version": "1.0.0",
        "datePublished": manifest.created,
        "distribution": files,
        "recordSet": [{"@type": "cr:RecordSet", "@id": "rows", "name": "rows", "field": fields}],
    }
    return json.dumps(said, ensure_ascii=False, indent=2) + "\n"
