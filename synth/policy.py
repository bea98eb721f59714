"""What may be done with what a teacher writes: a dated table of output terms, and a file of the user's own over it.

The table says what the terms said when they were read; it is no legal advice. A teacher that is not in it is `review`:
somebody has to look. Nobody's terms are guessed from somebody else's, so that patterns name whole families and no more.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from schemas.egress import trusted_in, trusts
from schemas.errors import RecipeError, nearest, raise_all
from schemas.recipe import Document, read_document, settings_of

Verdict = Literal["allow", "conditions", "review", "deny"]
"""Whether models may be trained on a teacher's output: yes; yes, with duties; a person must decide; no."""

Training = Literal["allowed", "conditional", "denied", "unknown"]

TRAINING: dict[Verdict, Training] = {
    "allow": "allowed",
    "conditions": "conditional",
    "review": "unknown",
    "deny": "denied",
}
"""What a verdict is in a source's `training`."""

_MAX_NAME = 200


class Terms(BaseModel):
    """Terms of one teacher's output, or of a family's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=200, description="what the terms are called")
    models: tuple[str, ...] = Field(
        min_length=1, description="names of models, in small letters, where * stands for anything"
    )
    verdict: Verdict = Field(description="allow, conditions, review or deny")
    duties: tuple[str, ...] = Field(
        default=(), description="what has to be done, or asked, before a model is given out"
    )
    students: tuple[str, ...] = Field(
        default=(), description="models that may be trained on it where others may not, as patterns"
    )
    source: str = Field(min_length=1, description="address of the terms, or the contract's number")
    read: str = Field(default="", description="what was read, where it was not the terms themselves")
    date: datetime.date = Field(description="the day on which that was looked up")

    @field_validator("models", "students", mode="before")
    @classmethod
    def _small_letters(cls, value: object) -> object:
        named = [value] if isinstance(value, str) else value
        return (
            [one.lower() if isinstance(one, str) else one for one in named]
            if isinstance(named, list | tuple)
            else named
        )


@dataclass(frozen=True)
class Ruling:
    """What a policy says of a teacher."""

    model: str
    verdict: Verdict
    terms: Terms | None
    """None where no terms are known."""
    overridden: bool = False
    """Whether the user's own file says so."""

    @property
    def training(self) -> Training:
        """What the source's `training` becomes."""
        return TRAINING[self.verdict]

    @property
    def named(self) -> str:
        """The terms as a source's `terms` names them: name, date, duties and address."""
        if self.terms is None:
            return "no terms known; have them looked at"
        duties = "; ".join(self.terms.duties)
        said = f"{self.terms.name} ({self.terms.date.isoformat()})"
        return f"{said}: {duties} [{self.terms.source}]" if duties else f"{said} [{self.terms.source}]"

    def as_json(self) -> dict[str, object]:
        """The ruling for a manifest or `--json`."""
        terms = None if self.terms is None else self.terms.model_dump(mode="json")
        return {"model": self.model, "verdict": self.verdict, "terms": terms, "overridden": self.overridden}


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    terms: tuple[Terms, ...] = Field(default=(), description="output terms of teachers, the first that fits counts")
    trusted: tuple[str, ...] = Field(default=(), description="base addresses that rows may be sent to unscrubbed")


@dataclass(frozen=True)
class Policy:
    """The table, with the user's own file before it."""

    own: tuple[Terms, ...] = ()
    trusted: tuple[str, ...] = ()
    """Addresses that may be sent rows with personal data."""
    file: str | None = None
    digest: str | None = None
    """SHA-256 of the file, as hexadecimal digits, for the manifest."""

    @classmethod
    def read(cls, path: Path) -> Policy:
        """The policy with a user's YAML file: `terms`, a list as `Terms` are, and `trusted`, a list of addresses.

        Raises RecipeError or UserErrors with every mistake and its line."""
        document = read_document(path)
        raise_all(list(document.errors))
        if not isinstance(document.value, dict):
            raise RecipeError(f"{path} is no policy", hint="it has the keys terms and trusted", file=str(path))
        errors = [
            document.error((name,), f"there is no setting {name!r}", nearest(str(name), _File.model_fields))
            for name in document.value
            if name not in _File.model_fields
        ]
        own, wrong = _own_terms(document)
        trusted, untrusted = trusted_in(document)
        raise_all([*errors, *wrong, *untrusted])
        return cls(own, trusted, str(path), sha256(path.read_bytes()).hexdigest())

    def ruling(self, model: str, student: str = "") -> Ruling:
        """What may be done with what a model writes, in training `student` where that is known. Of several terms that
        fit, the first counts, the user's own before the table's; without any it is `review`."""
        for terms in (*self.own, *TABLE):
            if _fits(model, terms.models):
                spared = terms.verdict == "deny" and bool(student) and _fits(student, terms.students)
                return Ruling(model, "conditions" if spared else terms.verdict, terms, terms in self.own)
        return Ruling(model, "review", None)

    def trusts(self, address: str) -> bool:
        """Whether rows that hold personal data, or may, can be sent to an address (`schemas.egress.trusts`)."""
        return trusts(self.trusted, address)

    def as_json(self) -> dict[str, object]:
        """Which file was read, for a manifest."""
        return {"file": self.file, "sha256": self.digest, "terms": [terms.name for terms in self.own]}


def _own_terms(document: Document) -> tuple[tuple[Terms, ...], list[RecipeError]]:
    given = document.value.get("terms") or []
    if not isinstance(given, list):
        return (), [document.error(("terms",), "it is a list", "begin each entry with '- name:'")]
    own: list[Terms] = []
    errors: list[RecipeError] = []
    for number, one in enumerate(given):
        if not isinstance(one, dict):
            errors.append(document.error(("terms", number), "an entry has settings", f"it has {', '.join(_WANTED)}"))
            continue
        named = one | {"models": [one["models"]]} if isinstance(one.get("models"), str) else one
        terms, wrong = settings_of(Terms, named, document, ("terms", number))
        errors += wrong
        own += [terms] if terms else []
    return tuple(own), errors


_WANTED = [name for name, field in Terms.model_fields.items() if field.is_required()]


def _fits(model: str, patterns: Sequence[str]) -> bool:
    """Whether a model's name fits a pattern, with its publisher or without (`meta-llama/Llama-3.1-8B-Instruct`)."""
    whole = model[:_MAX_NAME].lower().strip()
    bare = whole.rpartition("/")[2]
    return any(fnmatchcase(whole, pattern) or fnmatchcase(bare, pattern) for pattern in patterns)


_READ = datetime.date(2026, 11, 22)
_COMPETES = "a person must decide whether the trained model competes with the provider's"


def _terms(
    name: str, models: str, verdict: Verdict, source: str, *duties: str, read: str = "", students: str = ""
) -> Terms:
    return Terms(
        name=name, models=tuple(models.split()), verdict=verdict, duties=duties, students=tuple(students.split()),
        source=source, read=read, date=_READ,
    )  # fmt: skip


_LLAMA_DUTIES = (
    "the trained model's name begins with Llama",
    "show “Built with Llama”",
    "ask Meta for a licence above 700 million monthly users",
)

TABLE: tuple[Terms, ...] = (
    # Distilled models carry the terms of what they were made from: before the families that their names begin with.
    _terms(
        "DeepSeek-R1 distilled into Llama: Llama 3.1/3.3 licence",
        "deepseek-r1-distill-llama*",
        "conditions",
        "https://huggingface.co/deepseek-ai/DeepSeek-R1",
        *_LLAMA_DUTIES,
        read="the model card, which names the Llama licence for these",
    ),
    _terms(
        "DeepSeek-R1: MIT, which names distillation",
        "deepseek-r1 deepseek-r1-0528* deepseek-r1-zero deepseek-r1-distill-qwen*",
        "allow",
        "https://huggingface.co/deepseek-ai/DeepSeek-R1",
        read="the model card",
    ),
    _terms(
        "OpenAI services agreement",
        "gpt-3.5* gpt-4* gpt-5* chatgpt-* o1 o1-* o3 o3-* o4-* text-davinci-*",
        "review",
        "https://openai.com/policies/services-agreement/",
        f"output may not be used to develop models that compete with OpenAI: {_COMPETES}",
        read="quotations of the agreement at ospo.co and on news.ycombinator.com",
    ),
    _terms(
        "Anthropic commercial terms",
        "claude* anthropic.claude* *.anthropic.claude*",
        "review",
        "https://www.anthropic.com/legal/commercial-terms",
        f"competing models may not be trained without approval: {_COMPETES}",
        read="a copy at conductatlas.com",
    ),
    _terms(
        "Gemini API additional terms of service, 23 March 2026",
        "gemini* models/gemini*",
        "review",
        "https://ai.google.dev/gemini-api/terms",
        f"the services may not be used to develop models that compete with them: {_COMPETES}",
        read="quotations in public repositories",
    ),
    _terms(
        "AWS service terms, Amazon's own models",
        "amazon.nova* amazon.titan* *.amazon.nova* amazon/nova*",
        "review",
        "https://aws.amazon.com/service-terms/",
        f"competing large models may not be trained on the output: {_COMPETES}",
        read="a copy at conductatlas.com",
    ),
    _terms(
        "AI21 terms",
        "jamba* ai21.* ai21/*",
        "review",
        "https://www.ai21.com/terms-of-use",
        f"competing large models may not be trained on the output: {_COMPETES}",
        read="a copy at conductatlas.com",
    ),
    _terms(
        "Mistral API terms",
        "mistral-large-latest mistral-medium* mistral-small-latest",
        "review",
        "https://mistral.ai/terms",
        "nobody has read what they say of output",
        read="nothing yet",
    ),
    _terms(
        "xAI terms",
        "grok*",
        "review",
        "https://x.ai/legal/terms-of-service-enterprise",
        f"no product similar to the service may be developed with it: {_COMPETES}",
        read="a quotation on news.ycombinator.com",
    ),
    _terms(
        "Llama 3.1, 3.2, 3.3 and 4 community licences",
        "*llama-3.1* *llama-3.2* *llama-3.3* *llama3.1* *llama3.2* *llama3.3* *llama-v3p1* *llama-v3p2* *llama-v3p3* "
        "*llama-4* *llama4* *llama3-1* *llama3-2* *llama3-3*",
        "conditions",
        "https://www.llama.com/llama3_1/license/",
        *_LLAMA_DUTIES,
        read="section 1.b.i of the licence",
    ),
    _terms(
        "Llama 2 and 3 licences",
        "*llama-2* *llama2* *llama-3* *llama3* *llama-v2* *llama-v3*",
        "deny",
        "https://www.llama.com/llama3/license/",
        "output may improve Llama models only",
        read="section 1.b.v of the licence",
        students="*llama-2* *llama2* *llama-3* *llama3* *llama-4* *llama4* meta-llama/*",
    ),
    _terms(
        "Gemma 4: Apache-2.0",
        "gemma-4* gemma4* google/gemma-4*",
        "allow",
        "https://ai.google.dev/gemma",
        "keep the licence notice",
        read="the licence page",
    ),
    _terms(
        "Gemma terms of use",
        "gemma-1* gemma-2* gemma-3* gemma2* gemma3* gemma:* gemma-7b* google/gemma-7b*",
        "conditions",
        "https://ai.google.dev/gemma/terms",
        "a model made to behave like Gemma by its output is a derivative: pass the terms and the use policy on with it",
        read="section 1.1(e) of the terms",
    ),
    _terms(
        "Qwen licence",
        "qwen2.5-72b* qwen2.5:72b* qwen2-72b* qwen2:72b* qwen2.5-vl-72b*",
        "conditions",
        "https://huggingface.co/Qwen/Qwen2.5-72B-Instruct/blob/main/LICENSE",
        "show “Built with Qwen” or “Improved using Qwen”",
        read="the licence and discussion 18 of the model's page",
    ),
    _terms(
        "Qwen3 open weights: Apache-2.0",
        "qwen3-*b qwen3-*b-* qwen3:*b* qwen3-next-*b*",
        "allow",
        "https://huggingface.co/Qwen/Qwen3-8B",
        "keep the licence notice",
        read="a report by others",
    ),
    _terms(
        "SmolLM2: Apache-2.0",
        "smollm2*",
        "allow",
        "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        "keep the licence notice",
        read="a report by others",
    ),
)
"""What the terms of teachers' output say, the particular before the general."""
