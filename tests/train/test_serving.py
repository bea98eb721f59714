"""Serving by vLLM: the command that is run, what is refused before it, and that it comes and goes with us."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from schemas.errors import UserError, UserErrors
from tests.train.small import CHATML, read_json
from train.cli import app
from train.serving import Serving, find_vllm, serve, serving_of

VLLM = """#!{python}
import http.server, json, os, sys

arguments = sys.argv[1:]
with open({told!r}, "w") as file:
    json.dump({{"arguments": arguments, "key": os.environ["VLLM_API_KEY"], "pid": os.getpid(),
               "stats": os.environ.get("VLLM_NO_USAGE_STATS")}}, file)
if "--fail" in arguments:
    sys.exit(3)
after = lambda name: arguments[arguments.index(name) + 1]
names = [after("--served-model-name")]
if "--lora-modules" in arguments:
    for one in arguments[arguments.index("--lora-modules") + 1:]:
        if one.startswith("--"):
            break
        names.append(one.split("=")[0])
if "--forget" in arguments:
    names.pop()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        right = self.headers["Authorization"] == "Bearer " + os.environ["VLLM_API_KEY"]
        self.send_response(200 if right and self.path == "/v1/models" else 401)
        self.end_headers()
        self.wfile.write(json.dumps({{"data": [{{"id": name}} for name in names]}}).encode())
    def log_message(self, *_):
        pass

http.server.HTTPServer((after("--host"), int(after("--port"))), Handler).serve_forever()
"""


def adapter(folder: Path, base: Path, **settings: Any) -> Path:
    """An adapter's folder as far as a command is put together from it: what it says of itself."""
    folder.mkdir(parents=True)
    said = {"peft_type": "LORA", "base_model_name_or_path": str(base), "r": 16, "lora_alpha": 32, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(said | settings), encoding="utf-8")
    (folder / "adapter_model.safetensors").write_bytes(b"")
    return folder


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program called vllm; the file that it tells its arguments to."""
    told = tmp_path / "told.json"
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(VLLM.format(python=sys.executable, told=str(told)), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return told


def after(serving: Serving, option: str) -> str:
    return serving.command[serving.command.index(option) + 1]


def test_adapters_are_served_by_name_on_their_base(model: Path, tmp_path: Path) -> None:
    one, other = adapter(tmp_path / "support", model), adapter(tmp_path / "runs" / "b", model, r=24)

    found = serving_of([str(one), f"sales={other}", "--max-model-len", "4096"], port=8123)

    assert found.command == (
        *("vllm", "serve", str(model.resolve()), "--served-model-name", model.name),
        *("--host", "127.0.0.1", "--port", "8123", "--enable-lora", "--max-loras", "2", "--max-lora-rank", "32"),
        *("--lora-modules", f"support={one.resolve()}", f"sales={other.resolve()}", "--max-model-len", "4096"),
    )
    assert found.models == (model.name, "support", "sales")
    assert found.url == "http://127.0.0.1:8123/v1"


def test_a_model_is_served_without_adapters(model: Path) -> None:
    found = serving_of([f"ours={model}"], port=8123)

    assert after(found, "--served-model-name") == "ours"
    assert "--enable-lora" not in found.command


def test_the_template_that_adapters_were_trained_with_is_the_servers(model: Path, tmp_path: Path) -> None:
    one, other = adapter(tmp_path / "a", model), adapter(tmp_path / "b", model)
    for folder, text in ((one, CHATML), (other, CHATML.replace("assistant", "bot"))):
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((model / name).read_bytes())
        (folder / "chat_template.jinja").write_text(text, encoding="utf-8")

    found = serving_of([str(one)])

    assert after(found, "--chat-template") == str((one / "chat_template.jinja").resolve())
    with pytest.raises(UserError, match="were trained with different chat templates, and a server has one"):
        serving_of([str(one), str(other)])


def test_a_path_with_characters_of_vllms_own_is_written_as_json(model: Path, tmp_path: Path) -> None:
    one = adapter(tmp_path / "r=16,a", model)

    found = serving_of([str(one)])

    said = {"name": "r-16-a", "path": str(one.resolve()), "base_model_name": model.name}
    assert json.loads(after(found, "--lora-modules")) == said


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"peft_type": "IA3"}, "vLLM serves LoRA adapters, and this is IA3"),
        ({"use_dora": True}, "no DoRA"),
        ({"modules_to_save": ["lm_head"]}, "no adapter with modules_to_save"),
        ({"bias": "all"}, "no adapter with a bias"),
        ({"rank_pattern": {"q_proj": 4}}, "vLLM would scale all by one"),
        ({"r": 1024}, "its rank is 1024, and vLLM takes at most 512"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_vllm_refuses_or_would_get_wrong_is_to_be_merged_first(
    settings: dict[str, Any], said: str, model: Path, tmp_path: Path
) -> None:
    one = adapter(tmp_path / "a", model, **settings)

    with pytest.raises(UserError, match=said) as caught:
        serving_of([str(one)])

    assert "merge it: train merge" in caught.value.hint


def test_everything_wrong_is_told_at_once(model: Path, tmp_path: Path) -> None:
    wrong = [adapter(tmp_path / "x" / "a", model, use_dora=True), adapter(tmp_path / "y" / "a", model, bias="all")]

    with pytest.raises(UserErrors) as caught:
        serving_of([str(one) for one in wrong])

    assert [one.message.rpartition(": ")[2] for one in caught.value.errors] == [
        "vLLM serves no DoRA",
        "vLLM serves no adapter with a bias",
        "two adapters are called a",
    ]


def test_one_server_has_one_base(model: Path, tmp_path: Path) -> None:
    one, other = adapter(tmp_path / "a", model), adapter(tmp_path / "b", tmp_path / "another")

    with pytest.raises(UserError, match="adapters of"):
        serving_of([str(one), str(other)])
    with pytest.raises(UserError, match="are two models"):
        serving_of([str(model), str(one)], base=str(model))
    with pytest.raises(UserError, match=r"is not the model that .* was trained on"):
        manifest = {"identity": {"model": "0" * 64}}
        (one / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        serving_of([str(one)])


def test_an_end_of_turn_that_the_base_does_not_know_is_a_warning(model: Path, tmp_path: Path) -> None:
    from train.model import model_hash

    one = adapter(tmp_path / "a", model)
    said = {"identity": {"model": model_hash(model), "stop_ids": [256]}}
    (one / "manifest.json").write_text(json.dumps(said), encoding="utf-8")

    (warning,) = serving_of([str(one)]).warnings

    assert '"stop_token_ids": [256]' in warning


def test_others_who_can_reach_it_are_a_warning(model: Path) -> None:
    assert "vLLM asks for the key only under /v1" in serving_of([str(model)], host="0.0.0.0").warnings[0]


def test_a_key_in_the_command_is_refused(model: Path) -> None:
    for said in (["--api-key", "secret"], ["--api-key=secret"]):
        with pytest.raises(UserError, match="can be read by everybody"):
            serving_of([str(model), *said])


def test_vllm_runs_until_it_is_ended_and_its_key_is_nobody_elses(model: Path, tmp_path: Path, vllm: Path) -> None:
    serving = serving_of([str(adapter(tmp_path / "support", model))], port=0)
    seen: dict[str, Any] = {}

    def tell(key_file: str) -> None:
        seen.update(file=key_file, mode=Path(key_file).stat().st_mode & 0o777, key=Path(key_file).read_text())
        raise KeyboardInterrupt

    serve(serving, tell)

    told = read_json(vllm)
    assert told["arguments"] == list(serving.command[1:])
    assert told["key"] == seen["key"]
    assert told["stats"] == "1"
    assert seen["mode"] == 0o600
    assert seen["key"] not in serving.said() + json.dumps(serving.as_json())
    assert not Path(seen["file"]).exists()
    assert not alive(told["pid"])


def alive(pid: int) -> bool:
    for _ in range(50):
        with suppress(ProcessLookupError):
            os.kill(pid, 0)
            time.sleep(0.1)
            continue
        return False
    return True


@pytest.mark.parametrize(
    ("option", "said"), [("--fail", "vLLM did not start: status 3"), ("--forget", "vLLM does not serve support")]
)
def test_a_server_that_does_not_come_up_is_an_error(
    option: str, said: str, model: Path, tmp_path: Path, vllm: Path
) -> None:
    serving = serving_of([str(adapter(tmp_path / "support", model)), option], port=0)

    with pytest.raises(UserError, match=said):
        serve(serving, lambda key_file: None)

    assert not alive(read_json(vllm)["pid"])


def test_a_port_that_is_taken_is_named(model: Path, vllm: Path) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        with pytest.raises(UserError, match="is taken"):
            serve(serving_of([str(model)], port=other.getsockname()[1]), lambda key_file: None)


def test_without_vllm_the_other_way_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    with pytest.raises(UserError, match="vLLM is not installed") as caught:
        find_vllm()

    assert "train export ADAPTER --to gguf" in caught.value.hint
    assert "synth serve-local --model" in caught.value.hint


def test_a_dry_run_prints_the_command_alone(model: Path) -> None:
    found = CliRunner().invoke(app, ["serve", str(model), "--dry-run", "--json"])
    shown = CliRunner().invoke(app, ["serve", str(model), "--dry-run"])

    assert json.loads(found.stdout)["command"][:2] == ["vllm", "serve"]
    assert f"vllm serve {model.resolve()}" in shown.stdout
