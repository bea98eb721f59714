"""The local teacher: a real model, served in a process of its own, asked by the real runner."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from schemas.errors import UserError
from synth.installing import MODEL, MODEL_SHA256, has_engine, model_file
from synth.journal import Journal
from synth.request import Answer, Failure, Request
from synth.runner import Outcome, Patience, run
from synth.task import Seed
from synth.tasks.self_prompting import SelfPrompting
from synth.teachers.line import Flow
from synth.teachers.llama_server import LlamaLine
from synth.teachers.local import Serving, cores, local_teacher
from synth.teachers.openai_api import Endpoint, Teacher

ROOT = Path(__file__).parents[2]
needs_model = pytest.mark.skipif(
    not has_engine() or model_file() is None, reason="the local teacher is not installed: synth install-teacher"
)
SMALL = Serving(slots=4, context_tokens=512, threads=1)


@pytest.fixture(scope="module")
def teacher() -> Iterator[Teacher]:
    with local_teacher(serving=SMALL) as served:
        yield served


@pytest.fixture
def ask(teacher: Teacher, tmp_path: Path) -> Callable[..., list[Outcome]]:
    def asked(*requests: Request, **more: Any) -> list[Outcome]:
        with Journal(tmp_path) as journal:
            return list(run(requests, [teacher], journal, **more))

    return asked


def question(text: str, *, max_tokens: int = 16, temperature: float = 0.0, sample: int = 0, **more: Any) -> Request:
    messages = [{"role": "user", "content": text}]
    return Request({"messages": messages, "max_tokens": max_tokens, "temperature": temperature, **more}, sample)


def post(teacher: Teacher, path: str, body: dict[str, Any], key: str | None = None) -> tuple[int, Any]:
    """Ask the server without the runner."""
    endpoint = teacher.endpoints[0]
    key = endpoint.key().value if key is None else key
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    asked = urllib.request.Request(endpoint.url + path, json.dumps(body).encode(), headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(asked, timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@needs_model
def test_it_answers_as_any_other_teacher(ask: Callable[..., list[Outcome]]) -> None:
    [answer] = ask(question("Say hello."))

    assert isinstance(answer, Answer)
    assert answer.text
    assert answer.prompt_tokens > 0
    assert 0 < answer.completion_tokens <= 16
    assert answer.model == MODEL


@needs_model
def test_its_revision_is_the_hash_of_its_file(teacher: Teacher) -> None:
    assert (teacher.model, teacher.revision) == (MODEL, f"sha256:{MODEL_SHA256}")


@needs_model
def test_nobody_without_the_key_is_served(teacher: Teacher) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}

    statuses = [post(teacher, path, body, key="wrong")[0] for path in ("/chat/completions", "/completions")]

    assert statuses == [401, 401]


@needs_model
def test_the_key_stands_where_only_this_user_reads_it(teacher: Teacher) -> None:
    key = teacher.endpoints[0].key().value
    held = Path(teacher.endpoints[0].key_file)

    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]

    assert len(key) >= 32
    assert stat.S_IMODE(held.stat().st_mode) == 0o600
    assert stat.S_IMODE(held.parent.stat().st_mode) == 0o700
    assert not any(key.encode() in command for command in commands)
    assert key not in repr(teacher)


@needs_model
def test_json_is_written_by_its_schema(ask: Callable[..., list[Outcome]]) -> None:
    schema = {
        "type": "object",
        "properties": {"verdict": {"enum": ["yes", "no"]}, "score": {"type": "integer", "minimum": 1, "maximum": 10}},
        "required": ["verdict", "score"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "mark", "strict": True, "schema": schema}}
    events: list[Any] = []

    answers = ask(
        *(question(f"巴黎是{place}的首都吗？", max_tokens=64, response_format=form) for place in ("法国", "日本")),
        on_event=events.append,
    )

    assert all(isinstance(one, Answer) and set(one.value) == {"verdict", "score"} for one in answers)
    assert events[-1]["repairs"] == 0


@needs_model
def test_the_same_question_alone_is_answered_alike_at_temperature_0(teacher: Teacher) -> None:
    body = {"messages": [{"role": "user", "content": "Name three colours."}], "max_tokens": 24, "temperature": 0}

    texts = [post(teacher, "/chat/completions", body)[1]["choices"][0]["message"]["content"] for _ in range(3)]

    assert texts[1] == texts[2]  # the first is read without what the cache holds of it


@needs_model
def test_the_same_seed_gives_the_same_and_another_one_something_else(teacher: Teacher) -> None:
    def text(seed: int) -> str:
        body = {"messages": [{"role": "user", "content": "Tell me about a town."}], "max_tokens": 24, "seed": seed}
        said = post(teacher, "/chat/completions", body | {"temperature": 1.0, "cache_prompt": False})[1]
        return str(said["choices"][0]["message"]["content"])

    one, same, other = text(1), text(1), text(2)

    assert one == same
    assert one != other


@needs_model
def test_samples_of_one_question_differ(ask: Callable[..., list[Outcome]]) -> None:
    answers = ask(*(question("Tell me about a town.", temperature=1.0, sample=number) for number in range(3)))

    assert len({answer.text for answer in answers if isinstance(answer, Answer)}) == 3


@needs_model
def test_probabilities_of_tokens_are_told(teacher: Teacher) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3, "logprobs": True, "top_logprobs": 2}

    _, said = post(teacher, "/chat/completions", body)

    tokens = said["choices"][0]["logprobs"]["content"]
    assert len(tokens) == 3
    assert all(one["logprob"] <= 0 and len(one["top_logprobs"]) == 2 for one in tokens)


@needs_model
def test_a_bare_text_is_gone_on_with(teacher: Teacher) -> None:
    prompt = "<|im_start|>system\nYou help people to repair bicycles.<|im_end|>\n<|im_start|>user\n"

    status, said = post(teacher, "/completions", {"prompt": prompt, "max_tokens": 12, "temperature": 0})

    assert status == 200
    assert said["choices"][0]["text"].strip()


@needs_model
@pytest.mark.parametrize("begun", ["", "My bicycle's chain"])
def test_a_users_turn_that_was_begun_is_gone_on_with_as_his(begun: str, teacher: Teacher) -> None:
    messages = [{"role": "system", "content": "You repair bicycles."}, {"role": "user", "content": begun}]
    body = {"max_tokens": 16, "temperature": 0, "cache_prompt": False}
    prompt = f"<|im_start|>system\nYou repair bicycles.<|im_end|>\n<|im_start|>user\n{begun}"

    async def ask() -> Answer:
        line = LlamaLine(teacher, teacher.endpoints[0])
        await line.open()
        begins = {"messages": messages, "continue_final_message": True, "add_generation_prompt": False}
        reply = await line.ask("k", {**body, **begins}, 0, Flow(time.monotonic()))
        await line.close()
        return line.read("k", reply.body)

    answer = asyncio.run(ask())
    _, bare = post(teacher, "/completions", {**body, "prompt": prompt})

    assert answer.text
    assert answer.text == bare["choices"][0]["text"]
    assert answer.completion_tokens == bare["usage"]["completion_tokens"]


@needs_model
def test_self_prompting_leaves_the_model_where_a_user_begins(
    teacher: Teacher, ask: Callable[..., list[Outcome]]
) -> None:
    task = SelfPrompting(temperature=0.0, max_tokens=16)
    seed = Seed.of({"id": "m", "text": "You repair bicycles."})
    [begins] = next(task.rounds(seed, 0, seed.chance(0)))

    [answer] = ask(begins)

    prompt = "<|im_start|>system\nYou repair bicycles.<|im_end|>\n<|im_start|>user\n"
    _, bare = post(teacher, "/completions", {"prompt": prompt, "temperature": 0.0, "max_tokens": 16})
    assert isinstance(answer, Answer)
    assert answer.text == bare["choices"][0]["text"]


@needs_model
def test_a_prompt_longer_than_the_context_is_refused_and_the_others_go_on(ask: Callable[..., list[Outcome]]) -> None:
    long, short = ask(question("word " * 1_000), question("Say hello."))

    assert isinstance(long, Failure)
    assert long.reason == "bad_request"
    assert "context size" in long.detail
    assert isinstance(short, Answer)


@needs_model
def test_an_answer_that_fills_the_context_is_cut_off(ask: Callable[..., list[Outcome]]) -> None:
    [answer] = ask(question("Count on: " + "1 2 3 4 " * 55, max_tokens=1_000, ignore_eos=True))

    assert isinstance(answer, Answer)
    assert answer.finish_reason == "length"
    assert answer.prompt_tokens + answer.completion_tokens <= SMALL.context_tokens + 1


@needs_model
def test_more_questions_than_slots_are_all_answered(ask: Callable[..., list[Outcome]]) -> None:
    answers = ask(*(question(f"Say {number}.", max_tokens=4) for number in range(40)))

    assert all(isinstance(answer, Answer) for answer in answers)


def gone(process: psutil.Process) -> bool:
    return bool(psutil.wait_procs([process], timeout=20)[0])


def served_by(parent: int) -> psutil.Process:
    """The newest process that serves for another."""
    serving = [
        one for one in psutil.Process(parent).children() if any("llama_process" in part for part in one.cmdline())
    ]
    return max(serving, key=psutil.Process.create_time)


@needs_model
def test_the_server_ends_with_the_context() -> None:

    with local_teacher(serving=SMALL) as another:
        child = served_by(os.getpid())
        folder = Path(another.endpoints[0].key_file).parent
        assert folder.is_dir()

    assert gone(child)
    assert not folder.exists()


HOLD = """
import sys, time
from synth.teachers.line import Flow
from synth.teachers.llama_server import LlamaLine
from synth.teachers.local import Serving, local_teacher
with local_teacher(serving=Serving(slots=1, context_tokens=512, threads=1)) as teacher:
    print(teacher.endpoints[0].key_file, flush=True)
    time.sleep(60)
"""


def test_a_key_that_another_thread_has_taken_away_leaves_no_folder_behind(tmp_path: Path) -> None:
    folder = tmp_path / "key of one"
    folder.mkdir()
    script = "import sys; from synth.teachers.llama_process import _end; _end({'key_file': sys.argv[1]})"

    subprocess.run([sys.executable, "-c", script, str(folder / "key")], cwd=ROOT, check=True)

    assert not folder.exists()


@needs_model
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_does_not_outlive_a_parent_that_is_killed(how: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    key_file = Path(parent.stdout.readline().decode().strip())
    child = served_by(parent.pid)
    assert key_file.is_file()

    parent.send_signal(how)
    parent.wait()

    assert gone(child)
    ends = time.monotonic() + 10  # the watcher that clears up may be the last to go
    while key_file.parent.exists() and time.monotonic() < ends:
        time.sleep(0.05)
    assert not key_file.parent.exists()
    parent.stdout.close()


FORKS = HOLD.replace("    print(", "    import os\n    if not os.fork():\n        time.sleep(60)\n    print(")


@needs_model
def test_nor_where_a_fork_of_the_parent_holds_its_pipe_open() -> None:
    parent = subprocess.Popen([sys.executable, "-c", FORKS], stdout=subprocess.PIPE, cwd=ROOT, start_new_session=True)
    assert parent.stdout is not None
    assert parent.stdout.readline()
    child = served_by(parent.pid)

    parent.kill()
    parent.wait()

    ended = gone(child)
    os.killpg(parent.pid, signal.SIGKILL)  # the fork
    parent.stdout.close()
    assert ended


@needs_model
def test_a_server_that_is_killed_is_told_of(tmp_path: Path) -> None:
    patience = Patience(endpoint=1.0, first=1.0)

    with (
        pytest.raises(UserError, match="process ended: killed"),
        local_teacher(serving=SMALL) as doomed,
        Journal(tmp_path) as journal,
    ):
        child = served_by(os.getpid())
        child.kill()
        list(run([question("Say hello.")], [doomed], journal, patience=patience))


@needs_model
def test_another_file_is_another_revision(tmp_path: Path) -> None:
    installed = model_file()
    assert installed is not None
    (tmp_path / "my-model.gguf").write_bytes(installed.read_bytes() + b"\0")

    with local_teacher(tmp_path / "my-model.gguf", name="mine", serving=SMALL) as mine:
        assert (mine.name, mine.model) == ("mine", "my-model")
        assert mine.revision not in ("", f"sha256:{MODEL_SHA256}")


@needs_model
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no model in the GGUF format"),
        (b'{"weights": 1}', "no model in the GGUF format"),
        (b"GGUF\3\0\0\0", "is not whole"),
        (b"GGUF" + bytes(range(256)) * 40, "cannot load"),
    ],
)
def test_what_is_no_model_is_refused(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(data)

    with pytest.raises(UserError, match=said), local_teacher(tmp_path / "m.gguf"):
        pass


@needs_model
def test_half_a_model_is_refused_and_why_is_said(tmp_path: Path) -> None:
    installed = model_file()
    assert installed is not None
    (tmp_path / "half.gguf").write_bytes(installed.read_bytes()[:50_000_000])

    with pytest.raises(UserError, match=r"not within the file bounds") as found, local_teacher(tmp_path / "half.gguf"):
        pass

    assert "whole" in found.value.hint


@needs_model
def test_a_pointer_to_a_large_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 98362432\n")

    with pytest.raises(UserError) as found, local_teacher(tmp_path / "m.gguf"):
        pass

    assert "git lfs pull" in found.value.hint


@needs_model
def test_a_port_that_is_taken_is_named(teacher: Teacher) -> None:
    taken = int(teacher.endpoints[0].url.rpartition(":")[2].partition("/")[0])

    with (
        pytest.raises(UserError, match=f"port {taken} is taken"),
        local_teacher(serving=Serving(slots=1, context_tokens=512, threads=1, port=taken)),
    ):
        pass


def test_where_it_is_not_installed_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth.teachers.local.has_engine", lambda: False)

    with pytest.raises(UserError, match="not installed") as found, local_teacher():
        pass

    assert "synth install-teacher" in found.value.hint


def test_there_is_at_least_one_core() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


@needs_model
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_stopped(how: signal.Signals) -> None:
    command = [sys.executable, "-m", "synth.cli", "serve-local", "--json", "--slots", "1", "--context", "512"]
    serving = subprocess.Popen([*command, "--threads", "1"], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert serving.stdout is not None
    said = json.loads("".join(iter(serving.stdout.readline, "}\n")) + "}")
    child = served_by(serving.pid)
    teacher = Teacher("there", said["model"], (Endpoint(said["base_url"], key_file=said["key_file"]),))

    status, _ = post(teacher, "/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2})
    serving.send_signal(how)

    assert status == 200
    assert said["revision"] == f"sha256:{MODEL_SHA256}"
    assert serving.wait(20) == 0
    assert gone(child)
    assert not Path(said["key_file"]).exists()
    serving.stdout.close()


LOADS = """
from synth.teachers.local import Serving, local_teacher
with local_teacher(serving=Serving(slots=16, context_tokens=32_768, threads=1)):
    pass
"""


@needs_model
def test_a_server_that_is_still_loading_does_not_outlive_its_parent_either() -> None:
    parent = subprocess.Popen([sys.executable, "-c", LOADS], cwd=ROOT)
    while not psutil.Process(parent.pid).children():
        time.sleep(0.02)
    child = served_by(parent.pid)
    while child.memory_info().rss < 150 << 20:  # it has begun to load
        time.sleep(0.02)

    parent.kill()
    parent.wait()

    assert psutil.wait_procs([child], timeout=2)[0]
