"""What `train export`, `train chat` and `train serve` show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from schemas.console import heading, note, piece, say, size, table
from schemas.errors import UserError
from schemas.excerpt import excerpt, printable

if TYPE_CHECKING:
    from train.chatting import Talk
    from train.serving import Serving

_ANEW = "/new"


def exported_page(found: Mapping[str, Any]) -> None:
    """A model that was exported, and how it was checked."""
    verified = found["verified"]
    where = found["file"] or found["export"]
    base = f" on {found['base']}" if found["base"] else ""
    say(f"{where}: {found['source']}{base} as {found['type']}, {size(found['bytes'])}", style="bold green")
    for who, name in (("llama_cpp", "llama.cpp"), ("transformers", "transformers")):
        if measured := verified.get(who):
            say(
                f"loaded in {name}: {measured['kl_mean']:.2g} nats a token from what was trained (at most "
                f"{measured['kl_max']:.2g}), the likeliest token the same in {100 * measured['same_top_token']:.1f} % "
                f"of {measured['places']:,} places"
            )
    if changed := verified.get("training_changed"):
        say(f"for comparison: training changed {changed['kl_mean']:.2g} nats a token")
    template, tokens = verified["template"], verified.get("tokens")
    if template["conversations"]:
        say(f"chat template: {template['same']} of {template['conversations']} prompts as by {template['as']}")
    else:
        say(f"chat template: {template['as']}")
    if tokens:
        say(f"tokens: {tokens['same']} of {tokens['texts']} texts cut alike")
    say(f"ends an answer with: {', '.join(map(printable, verified['stops']['tokens'])) or 'nothing'}")
    for warning in found["warnings"]:
        say(f"warning: {printable(warning)}", style="yellow")
    if found["file"]:
        say(f"serve it on this machine: synth serve-local --model {where}")


def piped(talk: Talk, prompts: Iterator[str], system: str | None) -> list[dict[str, Any]]:
    """Each prompt in a conversation of its own, its answers side by side. Returns what was said."""
    found = []
    for prompt in prompts:
        one = _asked(talk, prompt, system)
        found.append(one)
        heading(f"> {excerpt(prompt)}")
        table(talk.sides, [[_lines(one[side]["text"]) for side in talk.sides]])
    return found


def answers(talk: Talk, prompts: Iterator[str], system: str | None) -> list[dict[str, Any]]:
    """The same, shown to nobody: for `--json`."""
    return [_asked(talk, prompt, system) for prompt in prompts]


def _asked(talk: Talk, prompt: str, system: str | None) -> dict[str, Any]:
    messages = [*_opening(system), {"role": "user", "content": prompt}]
    said = {side: talk.answer(side, messages).as_json() for side in talk.sides}
    return {"prompt": prompt, "base": None, **said}


def live(talk: Talk, prompts: Sequence[str], system: str | None) -> None:
    """On a terminal: answers as they are written. Without prompts, a conversation until Ctrl-D, in which each side goes
    on from its own answers; Ctrl-C cuts an answer off."""
    if prompts:
        for prompt in prompts:
            heading(f"> {excerpt(prompt)}")
            _both(talk, {side: _opening(system) for side in talk.sides}, prompt)
        return
    note(f"Ctrl-D ends, {_ANEW} begins anew, Ctrl-C cuts an answer off.")
    histories = {side: _opening(system) for side in talk.sides}
    for said in _lines_of_a_person():
        if said.strip() == _ANEW:
            histories = {side: _opening(system) for side in talk.sides}
            note("A new conversation.")
        elif said.strip():
            try:
                _both(talk, histories, said)
            except UserError as error:
                note(f"{error.message}; {error.hint}")
            except KeyboardInterrupt:
                note("\n(cut off)")


def _lines_of_a_person() -> Iterator[str]:
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - input() edits lines and remembers them where it is there
    while True:
        try:
            yield input("\n> ")
        except EOFError:
            say()
            return


def _both(talk: Talk, histories: dict[str, list[dict[str, str]]], said: str) -> None:
    """Both sides' answers, one below the other as they come. What is cut off is in no history."""
    asked = {side: [*histories[side], {"role": "user", "content": said}] for side in talk.sides}
    made = {}
    for side in talk.sides:
        say(f"{side}:", style="bold")
        made[side] = talk.answer(side, asked[side], lambda words: piece(_lines(words)))
        say("" if made[side].ended else " … (--max-new-tokens)")
    for side in talk.sides:
        histories[side] = [*asked[side], {"role": "assistant", "content": made[side].text}]


def _opening(system: str | None) -> list[dict[str, str]]:
    return [] if system is None else [{"role": "system", "content": system}]


def _lines(text: str) -> str:
    """A model's text with its lines, and nothing in it that a terminal obeys."""
    return "\n".join(printable(line) for line in text.split("\n"))


def served_page(serving: Serving, key_file: str | None) -> None:
    """The command that serves, and how it is asked when it runs."""
    for warning in serving.warnings:
        say(f"warning: {printable(warning)}", style="yellow")
    if key_file is None:
        say(" ".join(f"{name}={value}" for name, value in serving.environment.items()) + f" {serving.said()}")
        return
    say(f"served until Ctrl-C: {', '.join(serving.models)}", style="bold green")
    say(f"  base URL  {serving.url}")
    say(f"  key       in {key_file}")
    say(
        f'  curl {serving.url}/chat/completions -H "Authorization: Bearer $(cat {key_file})" \\\n'
        f"    -H 'Content-Type: application/json' \\\n"
        f'    -d \'{{"model": "{serving.models[-1]}", "messages": [{{"role": "user", "content": "Hi"}}]}}\''
    )
