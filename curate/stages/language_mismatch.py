"""Answers in the language of the question."""

from __future__ import annotations

from typing import Literal

import polars as pl

from curate.languages import CONVERSATION, LIBRARIES, NOT_ONE_LANGUAGE, guesses_once, sampled, turns, width
from curate.stage import Filter, Setting, drop, keep

# A word that says the answer should be in another language, or is about one.
_ANOTHER_LANGUAGE = (
    r"(?i)translat|interpret|bilingual|languages?|multilingual|polyglot|pronounc|pronunciation|transliterat"
    r"|romani[sz]|pinyin|equivalent|meaning of|what does .{1,60} mean|how (?:do|would) (?:you|i|we) say"
    r"|(?-u:\b)(?:english|chinese|mandarin|cantonese|french|german|spanish|italian|portuguese|russian"
    r"|japanese|korean|arabic|hindi|latin|greek|dutch|swedish|turkish|polish|vietnamese|thai"
    r"|indonesian|hebrew|urdu|bengali|ukrainian|romanian|czech|persian|farsi|finnish|danish|norwegian|hungarian"
    r"|malay|tagalog|filipino|swahili|sanskrit|catalan|esperanto)(?-u:\b)"
    r"|\p{Han}\p{Han}[语語]|翻译|翻譯|[译譯][成为為]|直译|意译|[英中汉漢法德日韩韓俄外母双雙国國][语文語]|华语|普通话|西班牙语|葡萄牙语|意大利语|阿拉伯语"
    r"|拉丁|希腊|泰语|越南语|粤语|粵語|语言|語言|拼音|发音|音标|单词|單詞|词汇|语法|口语|雅思|托福|四级|六级|时态|造句|英译|英譯|汉译|漢譯|怎么说|什么意思"
    r"|traduc|traduis|traduz|übersetz|tłumacz|auf deutsch|auf englisch|en français|en anglais|en español"
    r"|ingl[eéê]s|anglais|englisch|chin[oê]is|chinesisch|перев[её]д|перевод|английск|китайск|翻訳|和訳|英訳|英語|中国語|번역|영어|중국어"
)
# What is said of languages that are not people's.
_NO_LANGUAGE = (
    r"(?i)(?:programming|query|markup|scripting|modell?ing|formal|machine|body|sign) languages?|language models?"
    r"|language processing|(?:编程|程序|查询|标记|机器|肢体)语言|语言模型"
)

# Said in the language itself, it asks for no other one.
_IN_ENGLISH = r"(?i)(?-u:\b)(?:in|using) (?:plain |simple )?english(?-u:\b)"
_IN_CHINESE = r"[用以](?:简体|简单的?)?(?:中文|汉语|漢語|普通话|国语)"

_OTHER_SCRIPT = (
    r"[\p{Cyrillic}\p{Greek}\p{Arabic}\p{Hebrew}\p{Thai}\p{Devanagari}\p{Bengali}\p{Tamil}\p{Hangul}\p{Hiragana}]"
)
_SEARCHED_CHARS = 8_000

_PROSE_CHARS = 40  # beside program text, however much is asked for
_SHORT = 0.4
_FEW_WORDS, _LIKELY = 4, 0.6
_OWN_SCRIPTS = ("zh", "yue", "ja", "ko")

# Languages of which texts pass for each other's.
_ALIKE = {"yue": "zh", "nn": "no", "da": "no", "ms": "id", "bs": "hr", "sr": "hr"}


class LanguageMismatch(Filter):
    """Drop rows in which an answer is in a language that was neither used by who asks nor asked for."""

    answers: Literal["every", "last"] = Setting(
        default="every", description="which answers of a conversation are looked at"
    )
    min_chars: int = Setting(
        default=40,
        ge=1,
        description="shorter instructions or answers stay, a Chinese character counting as two and a half; two fifths "
        "are enough of an instruction whose script tells its language",
    )
    min_sure: float = Setting(
        default=0.8, ge=0, le=1, description="how sure the model must be where the script does not tell, 0 to 1"
    )

    version = 3
    libraries = LIBRARIES

    examples = (
        drop(
            "language_mismatch",
            instruction="Please tell me how plants make their food from light.",
            answer="植物通过光合作用利用光能，把水和二氧化碳转化为葡萄糖和氧气。",
        ),
        drop(
            "language_mismatch",
            instruction="请详细介绍一下植物是怎样利用阳光制造养分的。",
            answer="Plants make their food by photosynthesis, which turns light into sugar.",
        ),
        drop(
            "language_mismatch",
            instruction="Explique cómo las plantas producen su alimento con la luz del sol.",
            answer="Plants make their food by photosynthesis, a process which turns light, water and air into sugar.",
        ),
        drop(
            "language_mismatch",
            instruction="请介绍一下植物是怎样制造养分的，要讲得详细。",
            answer="植物は光合成によって光のエネルギーを利用し、水と二酸化炭素から養分を作ります。",
        ),
        keep(
            instruction="请详细介绍一下植物是怎样利用阳光制造养分的。",
            answer="植物通过光合作用利用光能，把水和二氧化碳转化为葡萄糖和氧气。",
        ),
        keep(
            instruction="Please tell me how plants make their food from light.",
            answer="Plants make their food by photosynthesis, which turns light into sugar.",
        ),
        drop(
            "language_mismatch",
            instruction="Could you tell me the refund policy in English please?",
            answer="我们支持七天无理由退货，请您在订单页面提交申请，仓库收到商品后三天内退款。",
        ),
        drop(
            "language_mismatch",
            instruction="How do I reset my router?",
            answer="请用卡针按住复位孔十秒，等指示灯闪烁后松开，路由器就会恢复出厂设置。",
        ),
        keep(
            instruction="iPhone 14 Pro Max",
            answer="这款手机有四种颜色，存储容量从128GB到1TB，您想了解哪一方面的信息呢？",
        ),
        drop(
            "language_mismatch",
            instruction="请用中文告诉我怎样申请退货，需要提供哪些材料。",
            answer="You can return it within seven days; please send us the receipt and the order number.",
        ),
        keep(
            instruction="请把“植物通过光合作用制造养分”翻译成英文。",
            answer="Plants make their food by photosynthesis, which turns light into sugar.",
        ),
        keep(
            instruction="Say in Chinese how plants make their food from light.",
            answer="植物通过光合作用利用光能，把水和二氧化碳转化为葡萄糖和氧气。",
        ),
        keep(
            instruction="用英文写一段关于光合作用的介绍，要通俗易懂一些。",
            answer="Plants make their food by photosynthesis, which turns light into sugar.",
        ),
        keep(
            instruction="写一个函数，计算两个数的和，并返回结果，要有类型标注。",
            answer="```python\ndef add(first: int, second: int) -> int:\n    return first + second\n```",
        ),
        drop(
            "language_mismatch",
            messages=[
                {"role": "user", "content": "请介绍一下植物是怎样制造养分的，要讲得详细。"},
                {"role": "assistant", "content": "Plants make their food by photosynthesis, which needs light."},
                {"role": "user", "content": "为什么叶子是绿色的？"},
                {"role": "assistant", "content": "因为叶绿素反射绿光，吸收红光和蓝光。"},
            ],
        ),
        keep(
            settings={"answers": "last"},
            messages=[
                {"role": "user", "content": "请介绍一下植物是怎样制造养分的，要讲得详细。"},
                {"role": "assistant", "content": "Plants make their food by photosynthesis, which needs light."},
                {"role": "user", "content": "为什么叶子是绿色的？"},
                {"role": "assistant", "content": "因为叶绿素反射绿光，吸收红光和蓝光。"},
            ],
        ),
        keep(
            messages=[
                {"role": "system", "content": "You translate whatever the user says into Chinese."},
                {"role": "user", "content": "Please tell me how plants make their food from light."},
                {"role": "assistant", "content": "请告诉我植物是怎样利用光来制造养分的，谢谢。"},
            ]
        ),
        keep(
            messages=[
                {"role": "user", "content": "我运行程序时出错了，请帮我看看。"},
                {"role": "assistant", "content": "请把错误信息发给我。"},
                {"role": "user", "content": "The file could not be opened because another program is using it."},
                {"role": "assistant", "content": "这个文件被另一个程序占用了，请先关闭那个程序再试一次。"},
            ]
        ),
        keep(instruction="改变以下名词为复数形式：watch", answer='The plural form of the noun "watch" is "watches".'),
        keep(
            instruction="写一个函数，读取文件并统计每个单词出现的次数。",
            answer="Here is the code:\n```python\nfrom collections import Counter\n\n\ndef words(path):\n"
            "    with open(path) as file:\n        return Counter(file.read().split())\n```",
        ),
        keep(instruction="世界上最著名的摇滚乐队有哪些？请列举几个名字。", answer="The Beatles, Queen, Pink Floyd"),
        keep(
            instruction="总结下面这段话：\nPlants make their food by photosynthesis, which turns light into sugar.",
            answer="植物通过光合作用把光能转化为糖分，从而制造自己的养分，这是生命的基础。",
        ),
        keep(
            instruction="Summarise this text: 植物通过光合作用利用光能，把水和二氧化碳转化为葡萄糖。",
            answer="Plants turn light, water and carbon dioxide into sugar by photosynthesis.",
        ),
        keep(
            instruction="生成一个正确使用“opulent”一词的句子，越长越好。",
            answer="The reception was held in an opulent ballroom with crystal chandeliers and golden walls.",
        ),
        keep(
            instruction="续写这句话并使其完整：Once upon a time there was a plant",
            answer="Once upon a time there was a plant that lived in a dark room and longed for the light.",
        ),
    )

    def reasons(self) -> dict[str, pl.Expr]:
        return {"language_mismatch": self._wrong().is_not_null()}

    def because(self) -> dict[str, pl.Expr]:
        return {"language_mismatch": self._wrong()}

    def _wrong(self) -> pl.Expr:
        return CONVERSATION.map_batches(self._told, return_dtype=pl.String, is_elementwise=True)

    def _told(self, conversations: pl.Series) -> pl.Series:
        return self.wrong(turns(conversations), len(conversations)).alias(conversations.name)

    def wrong(self, every: pl.DataFrame, rows: int, known: pl.DataFrame | None = None) -> pl.Series:
        """What is wrong with the first answer of each of so many rows that is in another language; null where none is.
        `every`: what `turns` gave for the rows; `known`: what `guesses_once` gave for all their texts, if it did."""
        wrong = self._mismatches(_exchanges(every, self.answers == "last"), known)
        wrong = wrong.join(_languages_asked_in(every, wrong, known), on=["row", "turn", "lang"], how="anti")
        first = wrong.unique("row", keep="first", maintain_order=True)
        place = pl.when(pl.col("answers") > 1).then(pl.format(" ({} of {})", "answer_number", "answers"))
        said = pl.concat_str(pl.format("instruction in {}, answer in {}", "asked_in", "told"), place.fill_null(""))
        told = first.select("row", said.alias("said"))
        each = pl.DataFrame({"row": pl.int_range(rows, dtype=pl.UInt32, eager=True)})
        return each.join(told, on="row", how="left", maintain_order="left")["said"]

    def _mismatches(self, exchanges: pl.DataFrame, known: pl.DataFrame | None) -> pl.DataFrame:
        """The exchanges whose two sides are in different languages."""
        few = _SHORT * self.min_chars
        long = (width(pl.col("instruction")) >= few) & (width(pl.col("answer")) >= self.min_chars)
        frame = exchanges.filter(long & ~pl.col("another")).filter(~_has_material())
        asked, told = _told_once(frame["instruction"], known), _told_once(frame["answer"], known)
        sides = frame.with_columns(asked["lang"].alias("asked_in"), told["lang"].alias("told"))
        enough = min(self.min_chars, _PROSE_CHARS)
        by_script = (asked["sure"] == 1) & (asked["width"] >= _SHORT * enough)
        sure = ((asked["width"] >= enough) | by_script) & (told["width"] >= enough)
        for side in (asked, told):
            sure &= (side["sure"] >= self.min_sure) & ~side["lang"].is_in(NOT_ONE_LANGUAGE)
        # Few English words are not told for sure from other words in Latin letters, but they are no Chinese.
        words = frame["instruction"].str.count_matches(r"[A-Za-z']+") >= _FEW_WORDS
        english = (asked["lang"] == "en") & (asked["sure"] >= _LIKELY) & words
        other_script = (told["sure"] == 1) & told["lang"].is_in(_OWN_SCRIPTS) & (told["width"] >= enough)
        return sides.with_columns(pl.col("told").replace(_ALIKE).alias("lang")).filter(
            (sure | (english & other_script)) & (pl.col("asked_in").replace(_ALIKE) != pl.col("lang"))
        )


def _exchanges(every: pl.DataFrame, only_last: bool) -> pl.DataFrame:
    """Each `answer` with the `instruction` before it, its place among the row's answers, and whether `another` language
    was mentioned until then."""
    by_person = pl.col("role").is_in(["user", "system", "developer"])
    text = pl.lit(sampled(every["text"], _SEARCHED_CHARS)).str.replace_all(_NO_LANGUAGE, "")
    in_itself = pl.when(text.str.contains(r"\p{Han}")).then(text.str.replace_all(_IN_CHINESE, ""))
    said = in_itself.otherwise(text.str.replace_all(_IN_ENGLISH, "")).str.contains(_ANOTHER_LANGUAGE)
    is_answer = pl.col("role") == "assistant"
    exchanges = (
        every.with_columns(said.alias("said"))
        .with_columns(
            pl.when(pl.col("role") == "user").then("text").forward_fill().over("row").alias("instruction"),
            (by_person & pl.col("said")).cum_max().over("row").alias("another"),
            is_answer.sum().over("row").alias("answers"),
            is_answer.cum_sum().over("row").alias("answer_number"),
        )
        .filter(is_answer & pl.col("instruction").is_not_null())
    )
    exchanges = exchanges.rename({"text": "answer"})
    return exchanges.filter(pl.col("answer_number") == pl.col("answers")) if only_last else exchanges


def _languages_asked_in(every: pl.DataFrame, wrong: pl.DataFrame, known: pl.DataFrame | None) -> pl.DataFrame:
    """`row`, `turn` and `lang` of each language that a user of the row used before that turn.

    Who asks in Chinese and then pastes an English message is answered in Chinese.
    """
    users = every.filter(pl.col("role") == "user").join(wrong.select("row").unique(), on="row", how="semi")
    users = users.with_columns(_told_once(users["text"], known)["lang"].replace(_ALIKE).alias("lang"))
    earlier = wrong.select("row", "turn").join(users.rename({"turn": "before"}), on="row")
    return earlier.filter(pl.col("before") < pl.col("turn")).select("row", "turn", "lang")


def _told_once(texts: pl.Series, known: pl.DataFrame | None) -> pl.DataFrame:
    """`guesses` of texts, each distinct one looked at once."""
    told = guesses_once(texts) if known is None else known
    return texts.alias("text").to_frame().join(told, on="text", how="left", maintain_order="left")


def _has_material() -> pl.Expr:
    """Whether the instruction holds text of the answer's script: a quotation, a passage or a word to answer about."""
    han, other = _share_of_han("instruction"), _share_of_han("answer")
    words = pl.col("instruction").str.contains(r"(?:[A-Za-z'’]{2,}[ ,;]+){2}[A-Za-z]{2,}|[“\"'‘「《：:] ?[A-Za-z]")
    return (
        ((han > 0) & (other > 0.5) & (han < 0.5))
        | (words & (han > 0) & (other < 0.5))
        | (pl.col("instruction").str.contains(_OTHER_SCRIPT) & (han > 0))
    )


def _share_of_han(name: str) -> pl.Expr:
    """About which share of the text is Chinese, from bytes and characters."""
    chars, size = pl.col(name).str.len_chars(), pl.col(name).str.len_bytes()
    return pl.when(pl.col(name).str.contains(r"\p{Han}")).then((size - chars) / 2 / chars).otherwise(0.0)
