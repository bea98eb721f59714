"""Texts whose characters are what was meant."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Literal

import polars as pl

from curate.stage import Edit, Setting, edit, keep

# Colours and cursor movements, then window titles and links, then what else a terminal would swallow.
_ESCAPES = r"\x1B\[[0-?]*[ -/]*[@-~]|\x1B\][^\x07\x1B\n]*(?:\x07|\x1B\\)|\x1B[@-Z\\^_=>]"
_CONTROL = (
    r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F\u{80}-\u{9F}\u{200B}\u{2060}\u{FEFF}\u{180E}\u{202D}\u{202E}\u{FFF9}-\u{FFFB}]"
)

# A joiner stays after an emoji or a letter of a script that is written with joiners; tag characters stay in a flag.
_JOINED_BY = (
    r"\p{Extended_Pictographic}\u{FE0F}\u{1F3FB}-\u{1F3FF}\p{Arabic}\p{Syriac}\p{Devanagari}\p{Bengali}\p{Gurmukhi}\p{Gujarati}"
    r"\p{Oriya}\p{Tamil}\p{Telugu}\p{Kannada}\p{Malayalam}\p{Sinhala}\p{Khmer}\p{Myanmar}\p{Mongolian}\p{Tibetan}"
)
_JOINERS = rf"([{_JOINED_BY}]\p{{M}}*[\u{{200C}}\u{{200D}}])|[\u{{200C}}\u{{200D}}]+"
_TAGS = r"(\u{1F3F4}[\u{E0020}-\u{E007F}]+)|[\u{E0001}\u{E0020}-\u{E007F}]+"

# What UTF-8 looks like when read as another encoding. More than ftfy would touch: it only says where to ask ftfy.
_MAYBE_MOJIBAKE = (
    r"[\u{80}-\u{9F}]"
    r"|[ÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö×ŽŠŸœ][\u{A0}-\u{BF}€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
    r"|вЂ|(?:[РСГВ][^\sа-яА-Я0-9.,!?:;()\"'-]){2}|[├┬╬┤╟╨╤][^\s─━│┃┌┐└┘├┤┬┴┼═║╔╗╚╝╠╣╦╩╬╟╢╤╧╨╥]|‚[Äâó]"
    r"|√[±∂†≠®™´≤≥¥µø°≈]|à[¤¥¦§¨©ª²³´µ¶·¸¹º»¼½¾]"
)
# 锛 is how a full-width comma's first two bytes look in GBK, 銆 a full stop's, 鈥 a quotation mark's.
_MAYBE_GBK = r"[锛銆鈥浣鐨鏄]"

_FENCE = re.compile(r"(```.*?(?:```|\Z))", re.DOTALL)


class NormaliseText(Edit):
    """Mend wrongly decoded text, line ends and invisible characters; code blocks and punctuation stay as they are."""

    fix_mojibake: bool = Setting(
        default=True, description="whether to mend text that was decoded wrongly (â€™, ä½ å¥½)"
    )
    strip_control: bool = Setting(
        default=True, description="whether to remove control and zero-width characters and terminal escapes"
    )
    unicode_form: Literal["NFC", "NFKC", "none"] = Setting(
        default="NFC",
        description="NFC joins letters and accents; NFKC also changes full-width punctuation and ligatures",
    )

    libraries = ("ftfy",)

    examples = (
        edit({"answer": "It’s a café."}, instruction="Where?", answer="Itâ€™s a cafÃ©."),
        edit({"answer": "你好，世界"}, instruction="说你好", answer="ä½\xa0å¥½ï¼Œä¸–ç•Œ"),
        edit({"answer": "你好，世界！"}, instruction="说你好", answer="浣犲ソ锛屼笘鐣岋紒"),
        edit({"answer": "one\ntwo\nthree"}, instruction="Count.", answer="one\r\ntwo\rthree"),
        edit({"answer": "red alert"}, instruction="Log?", answer="\x1b[31mred\x1b[0m alert\x07"),
        edit({"answer": "零宽字符"}, instruction="去掉", answer="零\u200b宽\u2060字\ufeff符"),
        edit({"answer": "café"}, instruction="Where?", answer="cafe\u0301"),
        edit({"answer": "ignore"}, instruction="Hidden?", answer="ignore\U000e0041\U000e0042"),
        edit({"text": "第一行\n第二行"}, text="第一行\r\n第二行"),
        keep(instruction="全角标点？", answer="“你好”，她说：（笑）……——！？【注】《书》　１２３ＡＢＣ"),
        keep(instruction="Quotes?", answer="“Curly” ‘quotes’ – dashes — ﬁne ligatures … &amp; entities"),
        keep(
            instruction="Emoji?", answer="👩‍👩‍👧 ❤️ 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f 👍🏽"
        ),
        keep(instruction="Persian and Hindi?", answer="می‌خواهم क्‍ष"),
        keep(instruction="French?", answer="« À Noël, où êtes-vous ? », dit-il à l’hôtesse : 50 €."),
        keep(instruction="São Paulo?", answer="SÃO PAULO É LÁ; AÇÃO, Åland, Ångström, CAFÉ® Â"),
        keep(instruction="Russian?", answer="Россия и Сербия, СССР, ГОСТ"),
        keep(instruction="锛是什么字？", answer="锛（bēn）是一种木工工具；鐨、鏄是繁体或生僻字。"),
        keep(instruction="Code?", answer="```python\ns = 'â€™'  # mojibake\tkept\n```"),
        keep(instruction="Table?", answer="├── src\n│   └── main.py\n└── README"),
        keep(instruction="Tabs?", answer="a\tb\nc"),
        edit({"answer": "A,B!"}, settings={"unicode_form": "NFKC"}, instruction="半角", answer="Ａ，Ｂ！"),
        keep(settings={"unicode_form": "none"}, instruction="Where?", answer="cafe\u0301"),
        keep(settings={"fix_mojibake": False}, instruction="Where?", answer="Itâ€™s"),
        keep(settings={"strip_control": False}, instruction="零宽", answer="零\u200b宽\x07"),
    )

    def texts(self, text: pl.Expr) -> pl.Expr:
        if self.fix_mojibake:
            suspect = text.str.contains(_MAYBE_MOJIBAKE) | text.str.contains(_MAYBE_GBK)
            mended = pl.when(suspect).then(text).map_batches(_mended, return_dtype=pl.String, is_elementwise=True)
            text = pl.coalesce(mended, text)
        text = text.str.replace_all("\r\n", "\n", literal=True).str.replace_all("\r", "\n", literal=True)
        if self.strip_control:
            text = text.str.replace_all(_ESCAPES, "").str.replace_all(_CONTROL, "")
            text = text.str.replace_all(_JOINERS, "$1").str.replace_all(_TAGS, "$1")
        if self.unicode_form != "none":
            text = text.str.normalize(self.unicode_form)
        return text


@cache
def _settings() -> Any:
    from ftfy import TextFixerConfig

    return TextFixerConfig(
        unescape_html=False,
        remove_terminal_escapes=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        fix_surrogates=False,
        remove_control_chars=False,
        normalization=None,
        explain=False,
    )


def _mended(texts: pl.Series) -> pl.Series:
    return pl.Series(texts.name, [None if text is None else _mend(text) for text in texts.to_list()], dtype=pl.String)


def _mend(text: str) -> str:
    """`text` with what was decoded wrongly put right, but for code blocks."""
    parts = _FENCE.split(text)
    parts[::2] = ["".join(_mend_line(line) for line in part.splitlines(keepends=True)) for part in parts[::2]]
    return "".join(parts)


def _mend_line(line: str) -> str:
    from ftfy import fix_text

    try:
        # Chinese that is not mojibake is, once encoded in GB 18030, never valid UTF-8 for a whole line.
        if re.search(_MAYBE_GBK, line):
            return line.encode("gb18030").decode("utf-8")
    except UnicodeError:
        pass
    return str(fix_text(line, _settings()))
