"""What a teacher's terms allow is looked up by name; the user's own file counts first, and its mistakes name lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import UserError, UserErrors
from synth.policy import TABLE, Policy

OURS = """\
terms:
  - name: Our contract with Example
    models: "example/*"
    verdict: allow
    source: contract 2026-114
    date: 2026-05-04
  - name: Looked at by Legal
    models: [gpt-4o*]
    verdict: conditions
    duties: [for support assistants only]
    source: ticket 8812
    date: 2026-06-01
trusted:
  - https://llm.example.com/v1
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def messages(error: UserError) -> list[tuple[int | None, str]]:
    errors = error.errors if isinstance(error, UserErrors) else [error]
    return [(one.line, one.message) for one in errors]


@pytest.mark.parametrize(
    ("model", "verdict"),
    [
        ("gpt-4o-mini", "review"),
        ("openai/gpt-4.1", "review"),
        ("o3-mini", "review"),
        ("claude-sonnet-4-5", "review"),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "review"),
        ("gemini-2.5-flash", "review"),
        ("grok-4", "review"),
        ("meta-llama/Llama-3.1-8B-Instruct", "conditions"),
        ("llama3.2:3b", "conditions"),
        ("accounts/fireworks/models/llama-v3p3-70b-instruct", "conditions"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "deny"),
        ("llama2:13b", "deny"),
        ("deepseek-ai/DeepSeek-R1", "allow"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "allow"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "conditions"),
        ("Qwen/Qwen3-8B", "allow"),
        ("qwen3-max", "review"),
        ("Qwen/Qwen2.5-72B-Instruct", "conditions"),
        ("google/gemma-3-27b-it", "conditions"),
        ("google/gemma-4-12b", "allow"),
        ("SmolLM2-135M-Instruct", "allow"),
        ("my-company-model", "review"),
        ("", "review"),
        ("*", "review"),
        ("x" * 100_000, "review"),
    ],
)
def test_a_teacher_is_looked_up_by_its_name(model: str, verdict: str) -> None:
    assert Policy().ruling(model).verdict == verdict


def test_an_unknown_teacher_is_unknown_and_not_allowed() -> None:
    ruling = Policy().ruling("somebodys-model")

    assert (ruling.terms, ruling.training) == (None, "unknown")
    assert "no terms known" in ruling.named


def test_terms_that_allow_their_own_family_allow_it_only() -> None:
    policy = Policy()

    assert policy.ruling("llama-3-70b", student="meta-llama/Llama-3.1-8B").verdict == "conditions"
    assert policy.ruling("llama-3-70b", student="Qwen/Qwen3-8B").verdict == "deny"
    assert policy.ruling("gpt-4o", student="meta-llama/Llama-3.1-8B").verdict == "review"


def test_every_entry_says_where_and_when() -> None:
    for terms in TABLE:
        assert terms.source.startswith("https://")
        assert terms.date.year >= 2026
        assert terms.verdict == "allow" or terms.duties
        assert all(pattern == pattern.lower() for pattern in (*terms.models, *terms.students))


def test_the_users_own_terms_count_first_and_are_recorded(tmp_path: Path) -> None:
    policy = Policy.read(written(tmp_path, OURS))

    ruling, table = policy.ruling("gpt-4o-mini"), policy.ruling("gpt-5")

    assert (ruling.verdict, ruling.training, ruling.overridden) == ("conditions", "conditional", True)
    assert ruling.named == "Looked at by Legal (2026-06-01): for support assistants only [ticket 8812]"
    assert policy.ruling("example/large").verdict == "allow"
    assert not table.overridden
    assert policy.as_json()["terms"] == ["Our contract with Example", "Looked at by Legal"]
    assert len(str(policy.as_json()["sha256"])) == 64


def test_every_mistake_in_the_file_is_named_with_its_line(tmp_path: Path) -> None:
    text = OURS.replace("verdict: allow", "verdict: yes please").replace("date: 2026-06-01", "dated: 2026-06-01")

    with pytest.raises(UserErrors) as caught:
        Policy.read(written(tmp_path, text + "  - llm.example.com\nterm: []\n"))

    said = messages(caught.value)
    assert [line for line, _ in said] == [4, 7, 12, 15, 16]
    assert "'yes please' is not a choice" in said[0][1]
    assert "'date' is missing" in said[1][1]
    assert "no setting 'dated'" in said[2][1]
    assert "'llm.example.com' is no address" in said[3][1]
    assert "no setting 'term'" in said[4][1]


@pytest.mark.parametrize(
    "text", ["", "- a\n", "terms: 3\n", "terms: [3]\n", "trusted: x\n", "trusted: [3]\n", "a: [\n"]
)
def test_a_file_that_is_no_policy_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError):
        Policy.read(written(tmp_path, text))


def test_python_in_the_file_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        Policy.read(written(tmp_path, f"terms: !!python/object/apply:os.system ['touch {tmp_path}/owned']\n"))

    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("https://llm.example.com/v1", True),
        ("https://LLM.example.com:443/v1/", True),
        ("https://llm.example.com/v1/chat", True),
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost:8000", True),
        ("http://[::1]:8000/v1", True),
        ("http://llm.example.com/v1", False),
        ("https://llm.example.com/v10", False),
        ("https://llm.example.com/v1/../v2", False),
        ("https://llm.example.com:8443/v1", False),
        ("https://llm.example.com.evil.org/v1", False),
        ("https://llm.example.com@evil.org/v1", False),
        ("https://evil.org/?https://llm.example.com/v1", False),
        ("http://127.0.0.1.evil.org/v1", False),
        ("ftp://llm.example.com/v1", False),
        ("https://api.openai.com/v1", False),
        ("", False),
        ("https://[", False),
    ],
)
def test_rows_leave_for_trusted_endpoints_only(tmp_path: Path, address: str, trusted: bool) -> None:
    policy = Policy.read(written(tmp_path, OURS))

    assert policy.trusts(address) is trusted
