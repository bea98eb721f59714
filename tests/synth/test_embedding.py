"""How varied texts are in what they mean: the scores, what is asked for, paid and kept, and what a job says of it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import orjson
import pytest

from synth.budget import Budget
from synth.embedding import Vectors, mean_distance, measured, requests_for, vectors_of, vendi_score
from synth.journal import Journal
from synth.request import Answer
from synth.runner import run
from synth.teachers.embeddings import read_embeddings
from synth.teachers.line import Lost
from synth.teachers.openai_api import Endpoint, Teacher
from tests.helpers import write_rows
from tests.synth.command import recipe, synth, synth_json
from tests.synth.endpoint import Running, Settings, endpoint

COOKING = [f"how long does {dish} have to cook in the oven" for dish in ("rice", "bread", "fish", "cake", "meat")]
MIXED = [
    "how long does rice have to cook",
    "the train to Berlin leaves from platform four",
    "请问这个订单什么时候发货",
    "write a function that sorts numbers",
    "my printer shows an error about paper",
]


@pytest.fixture
def served() -> Iterator[Running]:
    with endpoint() as running:
        running.set(**asdict(Settings(latency=0.01)))
        yield running


def embedder(url: str) -> Teacher:
    return Teacher("embeddings", "words", (Endpoint(url, api="embeddings"),))


def unit(*rows: list[float]) -> Vectors:
    found: Vectors = np.array(rows, dtype=np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found


def test_texts_that_have_nothing_in_common_count_whole_and_equal_ones_once() -> None:
    apart, same = unit([1, 0, 0], [0, 1, 0], [0, 0, 1]), unit([1, 2, 0], [1, 2, 0], [1, 2, 0])
    pairs = unit([1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0])

    assert vendi_score(apart) == pytest.approx(3, abs=1e-6)
    assert vendi_score(same) == pytest.approx(1, abs=1e-6)
    assert vendi_score(pairs) == pytest.approx(2, abs=1e-6)
    assert mean_distance(apart) == pytest.approx(1, abs=1e-6)
    assert mean_distance(same) == pytest.approx(0, abs=1e-6)
    assert mean_distance(pairs) == pytest.approx(2 / 3, abs=1e-6)


def test_the_vendi_score_is_that_of_the_similarities_eigenvalues() -> None:
    vectors = unit(*np.random.default_rng(3).normal(size=(40, 12)).tolist())

    values = np.linalg.eigvalsh(vectors.astype(np.float64) @ vectors.T.astype(np.float64) / 40)

    entropy = -sum(value * math.log(value) for value in values if value > 1e-12)
    assert vendi_score(vectors) == pytest.approx(math.exp(entropy), rel=1e-5)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"data": []},
        {"data": [{"index": 1, "embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": [0.0, 0.0]}]},
        {"data": [{"index": 0, "embedding": ["a"]}]},
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}]},
        {"data": [{"index": 0, "embedding": 1.0}]},
        {"data": [{"index": 0, "embedding": [None, 1.0]}]},
        [],
    ],
)
def test_what_is_no_answer_with_vectors_is_lost(said: object) -> None:
    with pytest.raises(Lost):
        read_embeddings("0" * 64, orjson.dumps(said))


def test_vectors_come_back_in_the_texts_order_and_are_paid_for_once(served: Running, tmp_path: Path) -> None:
    texts = [f"{text} {number}" for number in range(8) for text in MIXED]
    questions = requests_for(texts)

    with Journal(tmp_path) as journal:
        first = list(run(questions, [embedder(served.url)], journal))
        again = list(run(questions, [embedder(served.url)], journal))

    answers = [one for one in first if isinstance(one, Answer)]
    vectors = vectors_of(answers, len(texts))
    assert again == first
    assert served.counts()["embedded"] == len(texts) == len(vectors)
    assert vectors[0] @ vectors[5] > 0.8 > vectors[0] @ vectors[1]
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(texts)), abs=1e-5)
    with pytest.raises(ValueError, match="40 vectors for 39 texts"):
        vectors_of(answers, 39)


def test_varied_texts_score_higher_than_those_of_one_pattern(served: Running, tmp_path: Path) -> None:
    fields = {"instruction": (COOKING, [*MIXED, " "]), "answer": (MIXED, [])}

    with Journal(tmp_path) as journal:
        found = measured(fields, embedder(served.url), journal, Budget(), job="job", tell=lambda _: None)

    instruction, answer = found["fields"]["instruction"], found["fields"]["answer"]
    assert found["because"] is None
    assert instruction["made"]["texts"] == instruction["seeds"]["texts"] == 5
    assert 1 <= instruction["made"]["vendi_score"] < 0.6 * instruction["seeds"]["vendi_score"] <= 3
    assert instruction["made"]["mean_distance"] < instruction["seeds"]["mean_distance"]
    assert 0 < instruction["nearest_seed"] < 1
    assert (answer["seeds"], answer["nearest_seed"]) == (None, None)


def test_a_budget_that_does_not_cover_it_leaves_it_unmeasured(served: Running, tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        found = measured(
            {"answer": (MIXED, [])}, embedder(served.url), journal, Budget(tokens=10), job="job", tell=lambda _: None
        )

    assert (found["fields"], found["because"]) == ({}, "budget: the budget is spent")
    assert served.counts()["embedded"] == 0


def test_a_job_says_how_varied_its_rows_are_in_what_they_mean(served: Running, tmp_path: Path) -> None:
    path = recipe(tmp_path, served.url, embeddings={"model": "words", "base_url": served.url})

    planned = synth_json("run", path, "--out", "made", "--dry-run", cwd=tmp_path)
    found = synth_json("run", path, "--out", "made", cwd=tmp_path)
    shown = synth("show", "made", cwd=tmp_path).stdout

    meant = found["diversity"]["embeddings"]
    assert planned["recipe"]["embeddings"]["model"] == "words"
    assert planned["embeddings"]["texts_at_most"] == 2000
    assert (meant["model"], meant["because"], set(meant["fields"])) == ("words", None, {"instruction", "answer"})
    assert meant["fields"]["instruction"]["nearest_seed"] == pytest.approx(1, abs=1e-3)
    assert "Vendi score" in shown
    assert "Vendi score" in (tmp_path / "made" / "report.html").read_text(encoding="utf-8")
    assert found["paid_requests"] == 20 + 2 * 2 * 2 - 2  # the instructions are the seeds': asked once
    assert synth_json("run", path, "--out", "made", cwd=tmp_path)["already_done"]


def test_rows_are_not_sent_for_embeddings_where_they_may_not_go(served: Running, tmp_path: Path) -> None:
    path = recipe(
        tmp_path,
        served.url,
        seeds="seeds.jsonl",
        embeddings={"model": "words", "base_url": "https://embeddings.example/v1"},
    )

    said = synth("run", path, "--out", "made", cwd=tmp_path)

    assert said.returncode == 2
    assert "embeddings.example" in said.stderr
    assert served.counts()["requests"] == 0


@pytest.mark.parametrize(
    ("embeddings", "said"),
    [
        ({"model": "m"}, "'base_url' is missing"),
        ({"model": "m", "base_url": "x"}, "is not the address of an endpoint"),
        ({"model": "m", "base_url": "https://a.example/v1", "transport": "batch"}, "there is no setting 'transport'"),
        ({"model": "m", "base_url": "https://a.example/v1", "api_key": "sk-1"}, "the recipe holds a key"),
        ("local", "embeddings have a model and a base_url"),
    ],
)
def test_wrong_embeddings_are_named(tmp_path: Path, embeddings: object, said: str) -> None:
    path = recipe(tmp_path, "http://127.0.0.1:1/v1", embeddings=embeddings)

    found = synth("run", path, "--out", "made", cwd=tmp_path)

    assert found.returncode == 2
    assert said in found.stderr.replace("\n", " ")
    assert "sk-1" not in found.stderr


def test_money_needs_a_price_of_embeddings_too(tmp_path: Path, served: Running) -> None:
    write_rows(tmp_path / "seeds.jsonl", [{"instruction": "What is it?", "output": "It."}])
    teacher = {"model": "stub", "base_url": served.url, "price": {"prompt": 1, "completion": 1}}
    away = {"model": "words", "base_url": "https://embeddings.example/v1"}
    path = recipe(tmp_path, served.url, teacher=teacher, embeddings=away, budget={"money": 1})

    found = synth("run", path, "--out", "made", "--dry-run", cwd=tmp_path)

    assert found.returncode == 2
    assert "needs prices: words has none" in found.stderr


SERVE = """
import json, os, sys, xllamacpp
from synth.teachers.local import model_file
params = xllamacpp.CommonParams()
params.model.path = str(model_file())
params.embedding = True
params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
params.n_parallel, params.n_ctx, params.port, params.hostnames, params.verbosity = 1, 512, 0, ["127.0.0.1"], 1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
out = os.dup(1)
os.dup2(2, 1)
server = xllamacpp.Server(params)
os.write(out, (server.listening_address + "\\n").encode())
sys.stdin.read()
os._exit(0)
"""


def test_a_real_model_behind_llama_cpp_gives_embeddings(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()

    try:
        with Journal(tmp_path) as journal:
            found = measured(
                {"instruction": (COOKING, MIXED)}, embedder(f"{address}/v1"), journal, Budget(), job="job",
                tell=lambda _: None,
            )  # fmt: skip
    finally:
        process.communicate("")

    one = found["fields"]["instruction"]
    assert found["because"] is None
    assert 1 < one["made"]["vendi_score"] < one["seeds"]["vendi_score"] < 5
    assert json.dumps(found)
