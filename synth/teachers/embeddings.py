"""The words of `/embeddings`: a request's messages are the texts, and the vectors are the text of its answer."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson

from synth.request import Answer
from synth.teachers.line import Lost, counted


def as_embeddings(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    """What `/embeddings` is sent for a request whose messages are texts."""
    return {
        "model": model,
        "input": [one["content"] for one in body["messages"]],
        "encoding_format": body["encoding_format"],
    }


def read_embeddings(key: str, body: bytes) -> Answer:
    """The answer in a body of `/embeddings`: its text is a JSON list with each vector's numbers, made to length 1, as
    base64 of half precision. Raises Lost when there is none in it."""
    import numpy as np

    try:
        said = orjson.loads(body)
        data = sorted(said["data"], key=lambda one: one["index"])
        if [one["index"] for one in data] != list(range(len(data))) or not data:
            raise ValueError
        vectors = np.array([one["embedding"] for one in data], dtype=np.float64)
        if vectors.ndim != 2 or not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
            raise ValueError
        vectors /= np.abs(vectors).max(axis=1, keepdims=True)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        usage = said.get("usage") if isinstance(said.get("usage"), dict) else {}
        halves = vectors.astype("<f2")
        return Answer(
            key=key,
            text=orjson.dumps([base64.b64encode(one.tobytes()).decode() for one in halves]).decode(),
            finish_reason="stop",
            prompt_tokens=counted(usage.get("prompt_tokens") or usage.get("total_tokens")),
            model=str(said.get("model") or ""),
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        raise Lost("the answer is not that of /embeddings") from None
