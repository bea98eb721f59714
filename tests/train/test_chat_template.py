"""Chat templates: ours write what the models' own write, and what others wrote can do no harm."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import UserError
from tests.train.small import CHATML
from train.chat_template import ChatTemplate, choose, load_template, ours, serving_template
from train.rendering import TemplateRefusesError

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
STOPS = ["<|im_end|>", "<|user|>", "<|observation|>"]

OWN = {
    "qwen2_5": "qwen2_5",
    "qwen3": "qwen3",
    "llama3": "llama3",
    "llama3_1": "llama3_1",
    "llama3_2": "llama3_2",
    "gemma": "gemma2",
    "gemma3": "gemma3",
    "deepseekv3": "deepseek_v3",
    "glm4moe": "glm4_moe",
}
"""Models' own templates, as TRL ships them, and which of ours writes the same."""


def own(name: str) -> str:
    import trl

    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", OWN)
def test_ours_writes_what_the_models_own_template_writes(name: str) -> None:
    chosen = choose(own(name), name, TOKENS, STOPS)

    assert chosen.template.name == OWN[name]
    assert chosen.differs_on == ()


def test_smollm2s_system_turn_tells_it_from_plain_chatml() -> None:
    named = CHATML.replace(
        "{{ '<|im_start|>' + message['role']",
        "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant "
        "named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{ '<|im_start|>' + message['role']",
        1,
    )

    assert choose(CHATML, "m", TOKENS, STOPS).template.name == "chatml"
    assert choose(named, "m", TOKENS, STOPS).template.name == "smollm2"


def test_a_template_that_marks_the_assistant_is_used_as_it_is() -> None:
    text = load_template("chatml", TOKENS).text + "{# mine #}"

    assert choose(text, "mine", TOKENS, STOPS).template.text == text


def test_a_template_that_is_none_of_ours_is_refused_with_what_to_do() -> None:
    with pytest.raises(UserError, match="none of ours writes the same text") as caught:
        choose("{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}", "odd", TOKENS, STOPS)

    assert "{% generation %}" in caught.value.hint


def test_a_base_model_without_a_template_is_told_how_to_choose_one() -> None:
    with pytest.raises(UserError, match="base model") as caught:
        choose(None, "base", TOKENS, STOPS)

    assert "chat_template=chatml" in caught.value.hint


def test_a_template_by_name_or_file_is_found_or_its_neighbour_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text("no marks", encoding="utf-8")

    with pytest.raises(UserError) as caught:
        load_template("qwen_3", TOKENS)
    with pytest.raises(UserError, match="does not say what the assistant says"):
        load_template(str(file), TOKENS)

    assert "qwen3" in caught.value.hint


@pytest.mark.parametrize(
    "attack",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__init__.__globals__ }}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{{ 'x' * 100 }}{% endfor %}{% endfor %}",
        "{{ 'x' * 10 ** 12 }}",
        "{{ (1/0) }}",
        "{% include '/etc/passwd' %}",
        "{{ messages[7].content }}{{ raise_exception('no') }}",
        "{{ messages.append(1) }}",
    ],
)
def test_a_hostile_template_is_refused(attack: str) -> None:
    template = ChatTemplate(attack, "evil", TOKENS)

    with pytest.raises(TemplateRefusesError):
        template.render([{"role": "user", "content": "x"}])


def test_a_broken_template_is_an_error_with_its_reason() -> None:
    with pytest.raises(UserError, match="cannot be read"):
        ChatTemplate("{% for %}", "broken", TOKENS)


@pytest.mark.parametrize("name", ours())
def test_what_is_served_is_what_was_trained(name: str) -> None:
    chosen = choose(load_template(name, TOKENS).text, name, TOKENS, STOPS)
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": " Hi\n"},
        {"role": "assistant", "content": "Hello. "},
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "y"},
    ]

    served = serving_template(chosen.template)

    assert "generation %" not in served
    assert ChatTemplate(served, name, TOKENS).render(messages).text == chosen.template.render(messages).text


def test_a_date_in_a_template_is_the_day_the_run_began() -> None:
    day = datetime.date(2026, 1, 2)

    text = load_template("llama3_2", TOKENS, today=day).render([{"role": "user", "content": "x"}]).text

    assert "Today Date: 02 Jan 2026" in text
