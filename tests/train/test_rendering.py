"""Templates of others: they run in a process of their own, which ends when it takes too much."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from schemas.errors import UserError
from tests.train.small import byte_tokenizer, row
from train import rendering
from train.chat_template import ChatTemplate, choose, load_template
from train.data import Encoder, Told
from train.rendering import Apart, Here, TemplateRefusesError

HI = [{"role": "user", "content": "Hi 你好\ud83d"}, {"role": "assistant", "content": "Hello."}]
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
SAID = (
    "{% for one in messages %}{{ one.role }}: {% if one.role == 'assistant' %}{% generation %}"
    "{{ one.content }}<|im_end|>{% endgeneration %}{% else %}{{ one.content }}{% endif %}{{ '\\n' }}{% endfor %}"
)
CHATML = "{% for one in messages %}{{ '<|im_start|>' + one.role + '\\n' + one.content + '<|im_end|>\\n' }}{% endfor %}"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(rendering, "SECONDS", 1.0)
    yield
    rendering.apart.cache_clear()


def foreign(text: str) -> ChatTemplate:
    return ChatTemplate(text, "theirs", {"eos_token": "</s>"})


def test_a_template_says_the_same_apart_as_it_would_here() -> None:
    said = {"messages": HI, "tools": None, "add_generation_prompt": False}
    day = foreign(SAID).today

    apart = Apart(SAID + "{{ eos_token }}", (("eos_token", "</s>"),), day)
    here = Here(SAID + "{{ eos_token }}", (("eos_token", "</s>"),), day)

    assert apart.write(said, 1000) == here.write(said, 1000)
    assert foreign(SAID).render(HI).text == "user: Hi 你好\ud83d\nassistant: Hello.<|im_end|>\n"
    assert foreign(SAID).render(HI).spans == ((24, 40),)


def test_a_template_without_end_is_stopped_and_the_next_conversation_is_rendered() -> None:
    template = foreign("{% if messages[0].content == 'loop' %}" + ENDLESS + "{% endif %}" + SAID)
    loop = [{"role": "user", "content": "loop"}]

    with pytest.raises(TemplateRefusesError, match=r"takes longer than 1 s"):
        template.render(loop)

    assert template.render(HI).text.endswith("Hello.<|im_end|>\n")


def test_a_template_that_comes_to_no_end_again_and_again_is_given_up() -> None:
    template = foreign(ENDLESS)
    began = time.monotonic()

    for _ in range(rendering.MOST_KILLED):
        with pytest.raises(TemplateRefusesError, match="takes longer"):
            template.render(HI)
    with pytest.raises(UserError, match="the chat template of theirs does not work: it came to no end with 3"):
        template.render(HI)

    assert time.monotonic() - began < 60, "it is not waited for without end"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{ messages[1].content * 5000000 }}", "writes without end"),
        ("{% for a in range(99999) %}{{ 'x' * 1000 }}{% endfor %}", "writes without end"),
        ("{% set ns = namespace(a='x' * 1000000) %}{% for a in range(20) %}{% set ns.a = ns.a * 4 %}{% endfor %}", ""),
        ("{% set ns = namespace(a=[1]) %}{% for a in range(60) %}{% set ns.a = ns.a + ns.a %}{% endfor %}", ""),
        ("{{ messages.__class__.__mro__[1].__subclasses__() }}", ""),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", ""),
        ("{{ raise_exception('no system turns') }}", "no system turns"),
    ],
)
def test_what_takes_too_much_or_breaks_out_is_refused(text: str, why: str) -> None:
    with pytest.raises(TemplateRefusesError, match=why):
        foreign(text).render(HI)


@pytest.mark.parametrize(
    "text", ["{{ " + "(" * 5000 + ")" * 5000 + " }}", "{% for %}", "{{ 1" + " + 1" * 30000 + " }}"]
)
def test_a_template_that_cannot_be_compiled_is_a_users_error(text: str) -> None:
    with pytest.raises(UserError, match="the chat template of theirs cannot be read"):
        foreign(text)


def test_a_conversation_nested_too_deep_is_refused() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(TemplateRefusesError, match="nested too deep"):
        foreign(SAID).render(HI, deep)


def test_ours_need_no_process_and_a_models_own_has_one() -> None:
    ours = load_template("chatml", {})
    found = choose(CHATML, "theirs", {}, ["<|im_end|>"])

    assert isinstance(ours._program, Here)
    assert found.template.name == "chatml"
    assert isinstance(foreign(SAID)._program, Apart)


def test_a_row_that_a_template_does_not_come_to_an_end_with_is_set_aside() -> None:
    template = foreign("{% if messages[0].content == 'loop' %}" + ENDLESS + "{% endif %}" + SAID)
    tokenizer = byte_tokenizer()
    told = Told()
    encoder = Encoder(tokenizer, template, [tokenizer.eos_token_id])

    found = list(encoder.encode([row(("user", one), ("assistant", "b")) for one in ("a", "loop", "c")], told))

    assert len(found) == 2
    assert [(one.reason, one.detail) for one in told.set_aside] == [
        ("template_refused", "the template takes longer than 1 s")
    ]
