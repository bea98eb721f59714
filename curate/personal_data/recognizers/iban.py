"""International bank account numbers (IBAN)."""

from __future__ import annotations

import regex
from presidio_analyzer import EntityRecognizer, LocalRecognizer, Pattern, RecognizerResult
from presidio_analyzer.nlp_engine import NlpArtifacts

from .shape import FLAGS, finding

# Lengths in characters (SWIFT, IBAN Registry).
_COUNTRIES = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
_LENGTHS = {country: length for length, countries in _COUNTRIES.items() for country in countries.split()}
_SHAPE = r"(?<![0-9A-Za-z_])[A-Za-z]{2}[0-9]{2}(?:[ \-]?[0-9A-Za-z]){11,29}"
_PART = regex.compile(r"[ \-]?([0-9A-Za-z])", FLAGS)


class IbanCodeRecognizer(LocalRecognizer):
    """Country, check digits and as many characters as that country's numbers have (ISO 13616, ISO 7064 MOD 97-10)."""

    def __init__(self, supported_language: str = "en") -> None:
        self.candidate_patterns = [Pattern("IBAN", _SHAPE, 1.0)]
        self.global_regex_flags = FLAGS
        self.candidate_reach = 2
        self._shape = regex.compile(_SHAPE, FLAGS)
        super().__init__(supported_entities=["IBAN_CODE"], supported_language=supported_language)

    def load(self) -> None:
        """Nothing is loaded."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: NlpArtifacts) -> list[RecognizerResult]:
        found = []
        for match in self._shape.finditer(text):
            end = _end_of_number(text, match.start(), match.end())
            if end is not None:
                found.append(finding(self, match.start(), end, EntityRecognizer.MAX_SCORE))
        return found


def _end_of_number(text: str, begin: int, end: int) -> int | None:
    """Where the number that begins there ends, if it is one; what follows may look like more of it."""
    length = _LENGTHS.get(text[begin : begin + 2].upper())
    if length is None:
        return None
    number, place = "", begin
    while len(number) < length:
        part = _PART.match(text, place)
        if part is None or part.end() > end:
            return None
        number, place = number + part[1].upper(), part.end()
    if text[place : place + 1].isascii() and text[place : place + 1].isalnum():
        return None
    as_digits = "".join(str(int(char, 36)) for char in number[4:] + number[:4])
    return place if int(as_digits) % 97 == 1 else None
