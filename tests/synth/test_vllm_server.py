"""A job on a real vLLM server over HTTP, where ASSAY_VLLM_PYTHON names the interpreter of an environment with vllm."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from schemas.dataset import problems
from tests.synth.command import recipe, synth_json
from tests.synth.test_vllm_offline import tiny_model

PYTHON = os.environ.get("ASSAY_VLLM_PYTHON", "")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not PYTHON, reason="ASSAY_VLLM_PYTHON names no interpreter")]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = tiny_model(tmp_path / "model")
    settings = {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--served-model-name", "tiny"]
    command += ["--dtype", "float32", "--max-model-len", "256", "--enforce-eager", "--max-num-seqs", "8"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=os.environ | settings, stdout=log, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 300
        while True:
            try:
                urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            except (URLError, OSError):
                assert process.poll() is None and time.monotonic() < until, (tmp_path / "log").read_text()[-3000:]
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(60)


def test_a_job_is_served_by_vllm_and_again_for_nothing(served: str, tmp_path: Path) -> None:
    path = recipe(tmp_path, served, teacher={"model": "tiny", "base_url": served}, task={"use": "./echo.py"})

    found = synth_json("run", path, "--out", "made", "--set", "task.max_tokens=16", cwd=tmp_path)
    again = synth_json("run", path, "--out", "again", "--set", "task.max_tokens=16", cwd=tmp_path)

    assert found["kept"] + sum(found["rejected"].values()) == 20
    assert (found["paid_requests"], again["this_run"]["paid_requests"]) == (20, 0)
    assert list(problems(tmp_path / "made")) == []
