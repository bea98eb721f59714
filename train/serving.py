"""Serving by vLLM: one base, and several LoRA adapters on it, each under a name of its own.

The command is put together and printed exactly as it is run. Its options are those of vLLM 0.10 and later
(docs.vllm.ai, vllm/config/lora.py, vllm/lora/peft_helper.py): what its loader refuses, or would scale wrongly without a
word, is refused here before it starts.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.command import terminable
from schemas.errors import UserError, raise_all
from schemas.manifest import MANIFEST
from train.model import find_model, read_json_object

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What --max-lora-rank may be."""

INSTALL = (
    "pip install vllm, in an environment of its own (it pins torch and transformers); or on a CPU: "
    "train export ADAPTER --to gguf --out DIR, then synth serve-local --model DIR/FILE.gguf"
)

_TEMPLATE = "chat_template.jinja"
_START_SECONDS = 1800.0
_STOP_SECONDS = 15.0
_LOOK_SECONDS = 0.5
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Serving:
    """What is served, and by which command."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    """What is set beside the key, which is never in the command."""
    host: str
    port: int
    models: tuple[str, ...]
    """Names that requests may ask for: the base's, and each adapter's."""
    warnings: tuple[str, ...]

    @property
    def url(self) -> str:
        """Where it is asked."""
        host = f"[{self.host}]" if ":" in self.host else {"0.0.0.0": "127.0.0.1"}.get(self.host, self.host)  # noqa: S104 - compared
        return f"http://{host}:{self.port}/v1"

    def said(self) -> str:
        """The command as a shell takes it."""
        return shlex.join(self.command)

    def as_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "command": list(self.command),
            "environment": dict(self.environment),
            "base_url": self.url,
            "models": list(self.models),
            "warnings": list(self.warnings),
        }


def serving_of(
    sources: Sequence[str], *, base: str | None = None, host: str = "127.0.0.1", port: int = 8000
) -> Serving:
    """How vLLM serves some adapters on their base, or a model. Of `sources` each is a folder, or NAME=FOLDER; from the
    first that begins with a dash they are options of vLLM's. Raises UserErrors with all that is wrong."""
    from train.identity import adapter_hash, check_base
    from train.trained import base_name

    at = next((place for place, one in enumerate(sources) if one.startswith("-")), len(sources))
    sources, more = sources[:at], list(sources[at:])
    if any(one.split("=")[0] == "--api-key" for one in more):
        raise UserError("a key in a command can be read by everybody on the machine", hint="one is made: leave it out")
    adapters: list[tuple[str, Path]] = []
    models = [] if base is None else [_named(base)]
    for one in sources:
        name, path = _named(one)
        (adapters if (path / "adapter_config.json").is_file() else models).append((name, path))
    if len(models) > 1:
        raise UserError(f"{models[0][1]} and {models[1][1]} are two models", hint="a server has one, and its adapters")
    if not models and not adapters:
        raise UserError("nothing is named to serve", hint="name a model, or adapters of one")
    errors: list[UserError] = []
    configs = {}
    for name, path in adapters:
        try:
            adapter_hash(path)
            configs[name] = read_json_object(path / "adapter_config.json")
            _check_servable(path, configs[name])
        except UserError as error:
            errors.append(error)
    twice = sorted({name for name, _ in adapters if [one for one, _ in adapters].count(name) > 1})
    if twice:
        errors.append(
            UserError(f"two adapters are called {twice[0]}", hint="name them: NAME=FOLDER, as in support=runs/a")
        )
    raise_all(errors)
    foreign = [str(configs[name].get("base_model_name_or_path")) for name, path in adapters if not _is_ours(path)]
    if len(set(foreign)) > 1:  # of ours, each one's hash of its base decides
        errors.append(UserError(f"adapters of {foreign[0]} and {foreign[1]}", hint="a server has one base"))
    if not models:
        models = [_named(base_name(adapters[0][1], configs[adapters[0][0]]))]
    name, path = models[0]
    model = find_model(str(path))
    for adapter, path in adapters:
        try:
            check_base(path, model.path)
        except UserError as error:
            errors.append(error)
        if adapter == name:
            errors.append(UserError(f"base and adapter are both called {name}", hint="name the adapter: NAME=FOLDER"))
    template = _template([path for _, path in adapters], model.path, errors)
    raise_all(errors)
    port = port or _free_port(host)
    command = ["vllm", "serve", str(model.path.resolve()), "--served-model-name", name]
    command += ["--host", host, "--port", str(port)]
    if adapters:
        most = max(int(one["r"]) for one in configs.values())
        command += ["--enable-lora", "--max-loras", str(len(adapters))]
        command += ["--max-lora-rank", str(next(rank for rank in RANKS if rank >= most))]
        command += ["--lora-modules", *(_module(adapter, path.resolve(), name) for adapter, path in adapters)]
    if template is not None:
        command += ["--chat-template", str(template.resolve())]
    warnings = _stops([path for _, path in adapters], model.path)
    if host not in _LOOPBACK:
        warnings.append(
            f"others can reach {host}, and vLLM asks for the key only under /v1: put a proxy before what else it has"
        )
    environment = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
    return Serving(
        (*command, *more),
        environment,
        host,
        port,
        (name, *(adapter for adapter, _ in adapters)),
        tuple(warnings),
    )


def _named(said: str) -> tuple[str, Path]:
    """A source's name and folder."""
    name, equals, path = said.partition("=")
    if equals and not Path(said).expanduser().exists():
        if _plain(name) != name or not name:
            raise UserError(f"{name!r} is no name to serve by", hint="letters, digits, dots, dashes and underscores")
        return name, Path(path).expanduser()
    folder = Path(said).expanduser()
    return _plain(folder.resolve().name), folder


def _is_ours(adapter: Path) -> bool:
    return (adapter / MANIFEST).is_file()


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name) or "model"


def _check_servable(path: Path, config: Mapping[str, Any]) -> None:
    """Raise UserError for an adapter that vLLM cannot serve, or would serve as another."""
    kind = str(config.get("peft_type", "")).upper()
    wrong = ""
    if kind != "LORA":
        wrong = f"vLLM serves LoRA adapters, and this is {kind or 'of no kind'}"
    elif config.get("use_dora"):
        wrong = "vLLM serves no DoRA"
    elif config.get("modules_to_save"):
        wrong = "vLLM serves no adapter with modules_to_save"
    elif config.get("bias", "none") != "none":
        wrong = "vLLM serves no adapter with a bias"
    elif config.get("trainable_token_indices"):
        wrong = "vLLM serves no adapter with trained tokens by default"
    elif config.get("rank_pattern") or config.get("alpha_pattern"):
        wrong = "its ranks differ from layer to layer, and vLLM would scale all by one"
    elif not isinstance(config.get("r"), int) or not 0 < config["r"] <= RANKS[-1]:
        wrong = f"its rank is {config.get('r')}, and vLLM takes at most {RANKS[-1]}"
    if wrong:
        raise UserError(f"{path}: {wrong}", hint=f"merge it: train merge {path} --out DIR, and serve that model")


def _template(adapters: Sequence[Path], model: Path, errors: list[UserError]) -> Path | None:
    """The file with the one chat template that a server has; None where it is the model's own."""
    from train.model import load_tokenizer
    from train.trained import own_template, tokenizer_folder

    texts = {own_template(load_tokenizer(tokenizer_folder(path, model))): path for path in adapters}
    if len(texts) > 1:
        one, other = list(texts.values())[:2]
        errors.append(
            UserError(
                f"{one} and {other} were trained with different chat templates, and a server has one",
                hint="serve them apart",
            )
        )
    return next((path / _TEMPLATE for path in adapters if (path / _TEMPLATE).is_file()), None)


def _stops(adapters: Sequence[Path], model: Path) -> list[str]:
    """Warnings of adapters that end a turn where the base does not."""
    from train.identity import stop_ids_of
    from train.model import load_tokenizer

    said = [read_json_object(model / one).get("eos_token_id") for one in ("config.json", "generation_config.json")
            if (model / one).is_file()]  # fmt: skip
    tokenizer = load_tokenizer(model)
    known = {one for ids in (*said, tokenizer.eos_token_id) for one in (ids if isinstance(ids, list) else [ids])}
    found = []
    for path in adapters:
        lost = [one for one in stop_ids_of(path) if one not in known]
        if lost:
            names = ", ".join(str(tokenizer.convert_ids_to_tokens(one)) for one in lost)
            found.append(
                f"{path} ends an answer with {names}, at which the base does not stop: send "
                f'"stop_token_ids": {lost} with each request, or merge it'
            )
    return found


def _module(name: str, path: Path, base: str) -> str:
    """An adapter as --lora-modules has it: NAME=PATH, or JSON where a path has a character of its own."""
    if "=" not in str(path) and "," not in str(path):
        return f"{name}={path}"
    return json.dumps({"name": name, "path": str(path), "base_model_name": base})


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        one.bind((host, 0))
        return int(one.getsockname()[1])


def find_vllm() -> str:
    """Where vLLM's program is. Raises UserError saying how to get it."""
    beside = Path(sys.executable).with_name("vllm")
    found = shutil.which("vllm") or (str(beside) if beside.is_file() else None)
    if found is None:
        raise UserError("vLLM is not installed here", hint=INSTALL)
    return found


def serve(serving: Serving, tell: Callable[[str], None]) -> None:
    """Run vLLM until Ctrl-C or a termination. `tell` is given the file with the key when it answers. Its own words
    go to standard error. Raises UserError when it ends by itself."""
    program = find_vllm()
    if _taken(serving.host, serving.port):
        raise UserError(f"port {serving.port} is taken", hint="name another --port, or 0 for a free one")
    with terminable(), tempfile.TemporaryDirectory(prefix="assay-serve-") as folder:
        key = secrets.token_urlsafe(32)
        key_file = Path(folder) / "key"
        key_file.touch(mode=0o600)
        key_file.write_text(key, encoding="ascii")
        process = subprocess.Popen(
            [program, *serving.command[1:]],
            env=os.environ | serving.environment | {"VLLM_API_KEY": key},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno() if _has_file(sys.stderr) else subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for who started it
        )
        try:
            _wait(process, serving, key)
            tell(str(key_file))
            raise UserError(f"vLLM ended: {_ending(process.wait())}", hint="see its words above")
        except KeyboardInterrupt:
            return
        finally:
            _stop(process)


def _has_file(stream: Any) -> bool:
    try:
        stream.fileno()
    except (OSError, ValueError, AttributeError):
        return False
    return True


def _taken(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
        except OSError:
            return True
    return False


def _wait(process: subprocess.Popen[bytes], serving: Serving, key: str) -> None:
    """Until it lists the models that it was asked to serve."""
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise UserError(f"vLLM did not start: {_ending(process.returncode)}", hint="see its words above")
        listed = _models(serving, key)
        if listed is not None:
            missing = [one for one in serving.models if one not in listed]
            if missing:
                raise UserError(f"vLLM does not serve {missing[0]}", hint="see its words above")
            return
        time.sleep(_LOOK_SECONDS)
    raise UserError(f"vLLM does not answer after {_START_SECONDS / 60:.0f} minutes", hint="see its words above")


def _models(serving: Serving, key: str) -> set[str] | None:
    """The models that it lists; None while it does not answer."""
    address = serving.url.removeprefix("http://").removesuffix("/v1")
    line = http.client.HTTPConnection(address, timeout=5)
    try:
        line.request("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})
        reply = line.getresponse()
        said = reply.read(1 << 20)
        return {str(one["id"]) for one in json.loads(said)["data"]} if reply.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return None
    finally:
        line.close()


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"status {code}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End it and what it started: its engine is a process of its own."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None or how == signal.SIGKILL:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, how)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
