"""Datasets and records on a review server, over its REST interface, for tests."""

from __future__ import annotations

from typing import Any

import httpx

PENDING = {"type": "terms", "scope": {"entity": "response", "property": "status"}, "values": ["pending"]}


def made_dataset(
    client: httpx.Client,
    name: str,
    *,
    fields: dict[str, dict[str, Any]] | None = None,
    questions: dict[str, dict[str, Any]] | None = None,
    metadata: dict[str, str] | None = None,
    hidden: tuple[str, ...] = (),
    vectors: dict[str, int] | None = None,
    overlap: int = 1,
) -> str:
    """Publish a dataset in the workspace "review"; its id. By default of one text, asked about with good or bad."""
    workspaces = client.get("/me/workspaces").raise_for_status().json()["items"]
    workspace = next(one["id"] for one in workspaces if one["name"] == "review")
    settings = {
        "name": name,
        "workspace_id": workspace,
        "distribution": {"strategy": "overlap", "min_submitted": overlap},
    }
    dataset: str = client.post("/datasets", json=settings).raise_for_status().json()["id"]
    parts: list[tuple[str, dict[str, Any]]] = []
    for number, (field, kind) in enumerate((fields or {"text": {"type": "text", "use_markdown": True}}).items()):
        parts.append(("fields", {"name": field, "title": field, "required": number == 0, "settings": kind}))
    for number, (question, kind) in enumerate((questions or {"verdict": labels("good", "bad")}).items()):
        parts.append(("questions", {"name": question, "title": question, "required": number == 0, "settings": kind}))
    for known, type_ in (metadata or {}).items():
        visible = known not in hidden
        made = {"name": known, "title": known, "settings": {"type": type_}, "visible_for_annotators": visible}
        parts.append(("metadata-properties", made))
    for vector, dimensions in (vectors or {}).items():
        parts.append(("vectors-settings", {"name": vector, "title": vector, "dimensions": dimensions}))
    for place, part in parts:
        client.post(f"/datasets/{dataset}/{place}", json=part).raise_for_status()
    client.put(f"/datasets/{dataset}/publish").raise_for_status()
    return dataset


def labels(*values: str) -> dict[str, Any]:
    """Settings of a question that takes one of these labels."""
    return {"type": "label_selection", "options": [{"value": value, "text": value} for value in values]}


def ratings(highest: int) -> dict[str, Any]:
    """Settings of a question that takes a number from 1."""
    return {"type": "rating", "options": [{"value": value} for value in range(1, highest + 1)]}


def put_records(
    client: httpx.Client, dataset: str, records: list[dict[str, Any]], *, upsert: bool = False
) -> list[str]:
    """Send records, 500 at a time; their ids on the server."""
    ids: list[str] = []
    for start in range(0, len(records), 500):
        send = client.put if upsert else client.post
        answer = send(f"/datasets/{dataset}/records/bulk", json={"items": records[start : start + 500]})
        ids += [one["id"] for one in answer.raise_for_status().json()["items"]]
    return ids


def asked(
    client: httpx.Client,
    dataset: str,
    *filters: dict[str, Any],
    text: str | dict[str, str] | None = None,
    vector: dict[str, Any] | None = None,
    sort: list[tuple[dict[str, str], str]] | None = None,
    mine: bool = False,
    limit: int = 50,
    offset: int = 0,
) -> dict[str, Any]:
    """What a search answers. `mine`: as an annotator's own queue, in that annotator's order."""
    body: dict[str, Any] = {"query": {}}
    if text is not None:
        body["query"]["text"] = {"q": text} if isinstance(text, str) else text
    if vector is not None:
        body["query"]["vector"] = vector
    if filters:
        body["filters"] = {"and": list(filters)}
    if sort:
        body["sort"] = [{"scope": scope, "order": order} for scope, order in sort]
    address = f"{'/me' if mine else ''}/datasets/{dataset}/records/search"
    found: dict[str, Any] = (
        client.post(address, params={"limit": limit, "offset": offset}, json=body).raise_for_status().json()
    )
    return found


def names(found: dict[str, Any]) -> list[str]:
    """The external ids of what a search found, in order."""
    return [one["record"]["external_id"] for one in found["items"]]


def terms(scope: dict[str, str], *values: str) -> dict[str, Any]:
    """A filter: one of these values there."""
    return {"type": "terms", "scope": scope, "values": list(values)}


def between(scope: dict[str, str], ge: object = None, le: object = None) -> dict[str, Any]:
    """A filter: a value in this range there."""
    return {"type": "range", "scope": scope, "ge": ge, "le": le}


def answer(client: httpx.Client, record: str, values: dict[str, Any], status: str = "submitted") -> str:
    """Answer a record; the answer's id."""
    body = {"status": status, "values": {name: {"value": value} for name, value in values.items()}}
    made: str = client.post(f"/records/{record}/responses", json=body).raise_for_status().json()["id"]
    return made
