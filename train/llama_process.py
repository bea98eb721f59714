"""The process in which llama.cpp is asked about a GGUF file: started by `train.verifying`, by this file's path.

It imports nothing of ours, reads what is asked as one line of JSON on standard input, writes the answers as one line on
standard output, and ends. A file that brings llama.cpp down brings down no more than this.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from typing import Any

_ERRORS_ONLY = 1
"""llama.cpp's verbosity: what it logs above it may hold prompts."""

_SECONDS = 600.0


def answer() -> None:
    """Load the model, ask, answer."""
    answers = os.dup(1)
    os.dup2(2, 1)  # llama.cpp may write to standard output
    asked = json.loads(sys.stdin.buffer.readline())
    try:
        import xllamacpp

        server = xllamacpp.Server(_params(xllamacpp, asked))
        said: dict[str, Any] = {
            "answers": [_ask(server.listening_address, asked["key"], one) for one in asked["asked"]]
        }
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        said = {"error": f"{type(error).__name__}: {error}"}
    with os.fdopen(answers, "wb") as file:
        file.write(json.dumps(said).encode() + b"\n")
    os._exit(0)


def _params(xllamacpp: Any, asked: dict[str, Any]) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = asked["model"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [asked["key"]]
    params.n_parallel = 1
    params.n_ctx = asked["context_tokens"]
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = asked["threads"]
        cpu.poll = 0  # waiting threads sleep: who spins takes the core from who works
    params.n_gpu_layers = 0
    params.warmup = False
    params.cache_ram_mib = 0
    params.verbosity = _ERRORS_ONLY
    params.offline = True
    params.ui = False
    params.endpoint_slots = False
    return params


def _ask(address: str, key: str, one: dict[str, Any]) -> Any:
    host, _, port = address.rpartition("//")[2].rpartition(":")
    line = http.client.HTTPConnection(host, int(port), timeout=_SECONDS)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    line.request("POST", one["path"], json.dumps(one["body"]), headers)
    reply = line.getresponse()
    said = reply.read()
    line.close()
    return _shortened(json.loads(said)) if reply.status == 200 else {"refused": said[:1000].decode(errors="replace")}


def _shortened(said: dict[str, Any]) -> dict[str, Any]:
    """What is asked for of an answer: of thousands of candidates for a token, their numbers."""
    kept: dict[str, Any] = {name: said[name] for name in ("tokens", "prompt", "stop_type") if name in said}
    if found := said.get("completion_probabilities"):
        kept["likely"] = [[one["id"], one["logprob"]] for one in found[0]["top_logprobs"]]
    return kept


if __name__ == "__main__":
    answer()
