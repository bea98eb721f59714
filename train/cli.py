"""The `train` command line: parses, calls one function, shows its result. Heavy libraries load inside commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from schemas import console
from schemas.command import application, copy_report, settings_given
from schemas.errors import UserError

app = application("train", "Fine-tune a model on datasets: plan it, train it, look at what it learnt.")
EXAMPLE = "learning_rate=1e-4"
"""What --set looks like."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
Replace = Annotated[bool, typer.Option("--replace", help="Put the new result in the place of another one.")]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="A model's folder, hf:OWNER/NAME or modelscope:OWNER/NAME.", show_default=False),
]
Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="A recipe (.yaml); options here win.", show_default=False)
]
Data = Annotated[list[str] | None, typer.Option("--data", "-d", help="A dataset; may be repeated.", show_default=False)]
Out = Annotated[str | None, typer.Option("--out", "-o", help="Folder to write the adapter to.")]
OutFolder = Annotated[Path, typer.Option("--out", "-o", help="Folder to write the model to.", show_default=False)]
AdapterName = Annotated[str | None, typer.Option("--adapter", help="lora, qlora, dora, full, ... [default: lora]")]
FromAdapter = Annotated[
    str | None,
    typer.Option("--from", help="Go on from this adapter, which is then dpo's reference too.", show_default=False),
]
Allow = Annotated[
    list[str] | None, typer.Option("--allow", help="Train on this source although it denies it; recorded.")
]
Replay = Annotated[
    list[str] | None,
    typer.Option(
        "--replay", help="General data to mix in, DATASET=0.1: their share of all tokens.", show_default=False
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show rows, what counts and steps, and train nothing.")]
ReportFile = Annotated[Path | None, typer.Option("--report", help="Write the HTML report to this file.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="A setting of the recipe: adapter.r=32; may be repeated.")]


@app.callback()
def _about() -> None:
    """Fine-tune a model on datasets: plan it, train it, look at what it learnt."""


def _price(said: str | None) -> float | None:
    """The price of an hour: 1.2, 1.2/h."""
    if said is None:
        return None
    number = said.strip().lower().removesuffix("/h").removesuffix("/hour").lstrip("$€¥£")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise UserError(f"--price {said!r} is no price of an hour", hint="for example --price 1.2/h")
    return value


@app.command()
def plan(
    subject: Annotated[
        Path | None, typer.Argument(help="A dataset, or a recipe (.yaml) that names some.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="A model's folder, hf:OWNER/NAME, or a well-known name: qwen2.5-7b.",
            show_default=False,
        ),
    ] = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", help="A card's memory (24GB) or name (a100); the CPU if not given.")
    ] = None,
    method: Annotated[str, typer.Option("--method", help="sft or dpo.")] = "sft",
    adapter: Annotated[str | None, typer.Option("--adapter", help="full, lora, qlora or dora. [default: lora]")] = None,
    rank: Annotated[int | None, typer.Option("--r", min=1, max=1024, help="Rank of the update. [default: 16]")] = None,
    price: Annotated[str | None, typer.Option("--price", help="Price of an hour of the card: 1.2/h.")] = None,
    max_length: Annotated[
        int | None, typer.Option("--max-length", min=8, help="Tokens a row is cut to. [default: 1024]")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Sequences in a batch. [default: 8]")
    ] = None,
    accumulation: Annotated[
        int | None, typer.Option("--accumulation", min=1, help="Batches of an optimizer step. [default: 1]")
    ] = None,
    epochs: Annotated[
        float | None, typer.Option("--epochs", min=0.001, help="Times every row is seen. [default: 3]")
    ] = None,
    packing: Annotated[
        bool | None, typer.Option("--packing/--no-packing", help="Short rows share a sequence.", show_default=False)
    ] = None,
    checkpointing: Annotated[
        bool | None,
        typer.Option(
            "--checkpointing/--no-checkpointing",
            help="Compute activations twice to save memory; on for cards if not given.",
            show_default=False,
        ),
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option("--optim", help="As in a recipe: adamw_torch, adamw_8bit, ... [default: adamw_torch]")
    ] = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Say what a run takes before it: parameters, memory, steps, time, money; which method fits which card.

    Loads no model: its config.json is enough. Options here win over what the recipe says.
    """
    from train.plan import Wish, plan
    from train.plan_page import plan_page

    given: dict[str, Any] = {
        "adapter": adapter,
        "r": rank,
        "max_length": max_length,
        "batch_size": batch_size,
        "accumulation": accumulation,
        "epochs": epochs,
        "packing": packing,
        "checkpointing": checkpointing,
        "optimizer": optimizer,
    }
    wish = Wish(model=model, method=method, gpu=gpu, price=_price(price))
    options = {name: value for name, value in given.items() if value is not None}
    found = plan(subject, wish, options, settings_given(set_, EXAMPLE))
    if as_json:
        console.show_json(found)
    else:
        plan_page(found)


@app.command("import-model")
def import_model(
    path: Annotated[Path, typer.Argument(help="A GGUF file, or a folder that holds one.", show_default=False)],
    out: OutFolder,
    dtype: Annotated[str, typer.Option("--dtype", help="bf16 or fp32.")] = "bf16",
    tokenizer: Annotated[
        Path | None,
        typer.Option("--tokenizer", help="Folder of the original model, whose tokenizer is taken instead."),
    ] = None,
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Turn a GGUF file into a folder that can be trained: safetensors, tokenizer and chat template; checked by loading.

    llama (SmolLM, Mistral), qwen2 and qwen3 files are converted; once, then everything works on the folder.
    """
    from train.gguf import import_gguf
    from train.plan_page import imported_page

    found = import_gguf(path, out, dtype=dtype, tokenizer=tokenizer, replace=replace)
    if as_json:
        console.show_json(found)
    else:
        imported_page(found)


def _given(
    model: str | None,
    data: list[str] | None,
    out: str | None,
    adapter: str | None,
    from_adapter: str | None,
    allow: list[str] | None,
    replay: list[str] | None,
) -> dict[str, Any]:
    """Settings that have an option of their own with every method; None where it is not used."""
    return {
        "model": model,
        "data": data or None,
        "out": out,
        "adapter": adapter,
        "from_adapter": from_adapter,
        "allow": allow or None,
        "replay": replay or None,
    }


def _train(method: str, config: Path | None, given: dict[str, Any], set_: list[str] | None, **how: Any) -> None:
    """Put a recipe together and train it."""
    from train.recipe import load_recipe

    _train_recipe(load_recipe(method, config, given, settings_given(set_, EXAMPLE)), **how)


@app.command()
def sft(
    config: Config = None,
    model: Model = None,
    data: Data = None,
    out: Out = None,
    adapter: AdapterName = None,
    from_adapter: FromAdapter = None,
    allow: Allow = None,
    replay: Replay = None,
    set_: Set = None,
    dry_run: DryRun = False,
    replace: Replace = False,
    report: ReportFile = None,
    as_json: Json = False,
) -> None:
    """Learn to answer as the assistant does in conversations. Shows three rows with their loss mask before it begins.

    A run that was cut off goes on from its last whole checkpoint when given again; a finished one is not repeated.
    """
    given = _given(model, data, out, adapter, from_adapter, allow, replay)
    _train("sft", config, given, set_, dry_run=dry_run, replace=replace, report=report, as_json=as_json)


@app.command()
def dpo(
    config: Config = None,
    model: Model = None,
    data: Data = None,
    out: Out = None,
    adapter: AdapterName = None,
    from_adapter: FromAdapter = None,
    loss: Annotated[
        str | None, typer.Option("--loss", help="sigmoid, hinge, ipo, sigmoid_norm or simpo. [default: sigmoid]")
    ] = None,
    beta: Annotated[
        float | None, typer.Option("--beta", help="How little the model may depart from the reference. [default: 0.1]")
    ] = None,
    allow: Allow = None,
    replay: Replay = None,
    set_: Set = None,
    dry_run: DryRun = False,
    replace: Replace = False,
    report: ReportFile = None,
    as_json: Json = False,
) -> None:
    """Learn from pairs which answer is better (DPO). Shows their lengths and three of them before it begins.

    What the reference says is computed once and kept in .assay/reference. A run that was cut off goes on from its last
    whole checkpoint when given again.
    """
    given = _given(model, data, out, adapter, from_adapter, allow, replay) | {"loss_type": loss, "beta": beta}
    _train("dpo", config, given, set_, dry_run=dry_run, replace=replace, report=report, as_json=as_json)


def _train_recipe(recipe: Any, *, dry_run: bool, replace: bool, report: Path | None, as_json: bool) -> None:
    """Train a recipe and show how it went."""
    import os
    import warnings

    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from train.pages import job_page, outcome_page, step_label
    from train.running import carry_out, check_unfinished, done, dry, prepare, tokens_of

    warnings.filterwarnings("ignore")  # libraries warn about their own plans; what concerns the run is in its report
    job = prepare(recipe)
    found = None if dry_run else done(job)
    if found is None:
        check_unfinished(job, replace=replace or dry_run)
        rows = sum(one.rows for one in job.material.datasets)
        with console.progress("tokens", rows) as shown:
            tokens = tokens_of(job, lambda seen: shown.at(seen, seen))
        if dry_run:
            console.show_json(dry(job, tokens)) if as_json else job_page(job, tokens)
            return
        if not as_json:
            job_page(job, tokens)
        batch = tokens.sequences / tokens.steps_per_epoch
        with console.progress("train", tokens.steps) as shown:
            found = carry_out(
                job,
                tokens,
                lambda step, steps, record: shown.at(step, round(step * batch), step_label(step, steps, record)),
                replace=replace,
            )
    copy_report(found.folder, report)
    if as_json:
        console.show_json(found.as_json())
    else:
        outcome_page(found)


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(help="The --out folder of a run that was cut off.", show_default=False)],
    report: ReportFile = None,
    as_json: Json = False,
) -> None:
    """Go on with a run that was cut off, from its last whole checkpoint: the same losses as if it had not been."""
    from train.running import recipe_of

    _train_recipe(recipe_of(folder), dry_run=False, replace=False, report=report, as_json=as_json)


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="An adapter that `train` made.", show_default=False)],
    report: ReportFile = None,
    as_json: Json = False,
) -> None:
    """Show a run: loss curves, what was trained on, what it took."""
    from train.pages import show_page
    from train.running import read_report

    found = read_report(folder)
    copy_report(folder, report)
    if as_json:
        console.show_json(found)
    else:
        show_page(found, str(folder))


@app.command()
def merge(
    adapter: Annotated[Path, typer.Argument(help="An adapter's folder.", show_default=False)],
    out: OutFolder,
    model: Model = None,
    dtype: Annotated[str, typer.Option("--dtype", help="bf16, fp16 or fp32; never 4 bits.")] = "bf16",
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Merge an adapter into its base, and check that the result behaves as the two do together."""
    import warnings

    from train.merging import merge as merged
    from train.pages import merged_page

    warnings.filterwarnings("ignore")
    found = merged(adapter, out, base=model, dtype=dtype, replace=replace)
    if as_json:
        console.show_json(found)
    else:
        merged_page(found)


@app.command()
def export(
    source: Annotated[str, typer.Argument(help="An adapter's folder, or a model.", show_default=False)],
    to: Annotated[str, typer.Option("--to", help="safetensors (a folder) or gguf (a file).", show_default=False)],
    out: OutFolder,
    kind: Annotated[
        str | None,
        typer.Option("--type", help="f32, f16, bf16; in GGUF q8_0 too. [default: bf16, in GGUF f16]"),
    ] = None,
    model: Model = None,
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Write what was trained as a model that others serve, and check that it behaves as trained; else nothing is kept.

    Next tokens (in llama.cpp and transformers), chat template, tokens of a text and end of turn are compared.
    """
    import warnings

    from train.exporting import export as exported
    from train.served_pages import exported_page

    warnings.filterwarnings("ignore")
    found = exported(source, out, to=to, kind=kind, base=model, replace=replace, tell=console.note)
    if as_json:
        console.show_json(found)
    else:
        exported_page(found)


@app.command()
def chat(
    source: Annotated[str, typer.Argument(help="An adapter's folder, or a model.", show_default=False)],
    model: Model = None,
    prompt: Annotated[
        list[str] | None, typer.Option("--prompt", help="Ask this; may be repeated. Else lines of the input.")
    ] = None,
    system: Annotated[str | None, typer.Option("--system", help="A system turn before each conversation.")] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Tokens of an answer.")] = 256,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.0, max=10.0, help="0 takes the likeliest token each time.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of chance, the same for base and tuned.")] = 0,
    as_json: Json = False,
) -> None:
    """Ask what was trained, and its base beside it.

    On a terminal a conversation; else each line of the input, or each --prompt, begins one.
    """
    import sys
    import warnings

    from train import served_pages
    from train.chatting import Sampling, Talk
    from train.trained import open_trained

    warnings.filterwarnings("ignore")
    known, name = open_trained(source, model)
    talk = Talk(known, Sampling(max_new_tokens, temperature, seed))
    asked = iter(prompt or (line for said in sys.stdin if (line := said.strip())))
    if as_json:
        answers = served_pages.answers(talk, asked, system)
        console.show_json({"source": source, "base": name, "system": system, "answers": answers})
    elif sys.stdout.isatty() and (prompt or sys.stdin.isatty()):
        served_pages.live(talk, prompt or [], system)
    else:
        served_pages.piped(talk, asked, system)


@app.command()
def serve(
    sources: Annotated[
        list[str],
        typer.Argument(help="A model, or adapters of one: FOLDER or NAME=FOLDER; after -- vLLM's own options."),
    ],
    model: Model = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="The port; a free one if 0.")] = 8000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the command, and run nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Serve a model, or LoRA adapters on their base, by vLLM at an OpenAI-compatible address, until Ctrl-C.

    The key is made for this run: it is in a file that only you can read.
    """
    from train import serving
    from train.served_pages import served_page

    found = serving.serving_of(sources, base=model, host=host, port=port)
    if dry_run:
        console.show_json(found.as_json()) if as_json else served_page(found, None)
        return
    serving.find_vllm()
    if not as_json:
        served_page(found, None)

    def tell(key_file: str) -> None:
        if as_json:
            console.show_json(found.as_json() | {"key_file": key_file})
        else:
            served_page(found, key_file)

    serving.serve(found, tell)


def main() -> None:
    """Entry point of the `train` command."""
    console.guarded(lambda: app(prog_name="train"))


if __name__ == "__main__":
    main()
