"""Answers that only say the question again."""

from __future__ import annotations

import re

import polars as pl

from curate.measure import Field, Measure, ascii_edges, gives, only

_MOST_CHARS = 240
"""A longer question has something in it to answer from."""

_ROOM = 40
"""An answer that is longer than twice the question and so many characters says something else."""

_OPEN_QUESTION = ascii_edges(
    r"(?i)\b(?:what|why|how|who|where|when|explain|describe|define|tell me)\b"
    r"|什么|为什么|怎么|怎样|如何|谁|哪|多少|解释|说明|介绍|描述|谈谈|说说|讲讲"
)
# The answer is then rightly made of the question's words, or a yes or no with them.
_COPIES = ascii_edges(
    r"(?i)^\s*(?:is|are|was|were|do|does|did|can|could|will|would|should|has|have)\b|\b(?:or|true|false|repeat|say"
    r"|rewrite|rephrase|paraphrase|reword|correct|grammar\w*|spell\w*|edit|translate|translation"
    r"|reverse|sort|order|arrange|rearrange|unscramble|extract|identify|find|underline|quote|copy|echo|capitali[sz]e"
    r"|uppercase|lowercase|punctuat\w+|convert|change|turn (?:this|the|it|that|these)|fill|complete|choose|select"
    r"|pick|which"
    r"|classify|label|tag|parse|split|remove|replace|replacing|insert|add|transform|sentence|phrase|words?|title"
    r"|headline|summari[sz]e|simplify|combine|join|voice|tense|question|called|name|list)\b"
    r"|吗|是否|是不是|能不能|可不可以|有没有|还是|对不对|重复|复述|改写|改成|改为|改正|纠正|修改|润色|翻译|译成|译为"
    r"|排序|排列|提取|抽取|找出|识别|选择|选出|填空|补全|完成|分类|标注|转换|替换|插入|删除|句子|标题|概括|总结|缩写"
    r"|病句|语序|词语|判断|造句|拼音|提问|问题"
)
_MATERIAL = r"[“\"「《:：\n].{3,}"
_WORD = re.compile(r"[\u3400-\u9fff\u3040-\u30ff]|[^\W_\u3400-\u9fff\u3040-\u30ff]+(?:['’][^\W_]+)?")
_OF_NO_ACCOUNT = set(
    "的了是在有和与及也都就而且于对把被让给吧呢啊吗呀嘛请问我你您他她它们这那个种些一什么怎样如何为谁哪里多少"
)
_OF_NO_ACCOUNT |= set("答因所以解释说明介绍描述谈讲") | set(
    re.findall(
        r"\w+",
        """a an the of to in on at for with by from is are was were be been being do does did has have had it
        its this that these those there as and can could will would should may might i you we they me my
        your our about what why how who where when please tell explain describe define which so then well
        question answer asking asked mean means simply very just because""",
    )
)
_LEAST = {"words": 2, "characters": 3}


class RestatesQuestion(Measure):
    """Whether the answer only says the question again.

    All its words are then the question's, and most of the question's are in it. Words that carry no meaning of their
    own (the, is, 的, 是, 什么) do not count. Only open questions of one line are looked at (what, why, how, explain,
    什么, 为什么, 如何, 解释), where an answer must bring something new.
    """

    type = "true/false"

    examples = (
        gives(
            True, instruction="What is the capital of France?", answer="The capital of France is the capital of France."
        ),
        gives(
            True,
            instruction="Why do leaves turn red in autumn?",
            answer="Leaves turn red in autumn because leaves turn red.",
        ),
        gives(
            True, instruction="Explain how a transistor amplifies signals.", answer="A transistor amplifies signals."
        ),
        gives(True, instruction="法国的首都是哪里？", answer="法国的首都就是法国的首都。"),
        gives(True, instruction="为什么秋天树叶会变红？", answer="因为秋天树叶会变红。"),
        gives(False, instruction="What is the capital of France?", answer="The capital of France is Paris."),
        gives(False, instruction="What is the capital of France?", answer="France"),
        gives(False, instruction="Is the sky blue?", answer="The sky is blue."),
        gives(False, instruction="Correct this: she go home.", answer="She goes home."),
        gives(False, instruction="Who came first, Ann or Tom?", answer="Tom came first."),
        gives(False, instruction="What colour is a white horse?", answer="White."),
        gives(False, instruction="法国的首都是哪里？", answer="法国的首都是巴黎。"),
        gives(False, instruction="天空是蓝色的吗？", answer="天空是蓝色的。"),
        gives(False, instruction="谁先到，小明还是小红？", answer="小红先到。"),
        gives(False, instruction="红色的花是什么颜色？", answer="红色。"),
        gives(None, text="A text answers nothing."),
    )

    def value(self, field: Field) -> pl.Expr:
        text, instruction = self.text(field), self.text("instruction")
        chars = instruction.str.len_chars()
        short = (chars <= _MOST_CHARS) & (text.str.len_chars() <= 2 * chars + _ROOM)
        # A null costs nothing: few answers are no longer than what was asked.
        asked = only(short, instruction)
        asked = only(asked.str.contains(_OPEN_QUESTION), asked)
        likely = ~asked.str.contains(_COPIES) & ~asked.str.contains(_MATERIAL)
        pair = pl.struct(answer=only(likely, text), instruction=only(likely, instruction))
        found = pair.map_batches(_restated, return_dtype=pl.Boolean, is_elementwise=True)
        return pl.when(text.is_not_null() & instruction.is_not_null()).then(found)


def _restated(pairs: pl.Series) -> pl.Series:
    answers, instructions = pairs.struct.field("answer"), pairs.struct.field("instruction")
    said = [
        text is not None and asked is not None and _only_restates(text, asked)
        for text, asked in zip(answers, instructions, strict=True)
    ]
    return pl.Series(said, dtype=pl.Boolean)


def _only_restates(answer: str, question: str) -> bool:
    own, asked = _words(answer), _words(question)
    least = _LEAST["characters" if any(len(word) == 1 and word > "\u3000" for word in asked) else "words"]
    return len(own) >= least and own <= asked and len(own) >= 0.7 * len(asked)


def _words(text: str) -> set[str]:
    """The words of a text that say something, without case and endings that only inflect."""
    found = {word.casefold() for word in _WORD.findall(text)} - _OF_NO_ACCOUNT
    return {_stem(word) for word in found}


def _stem(word: str) -> str:
    for ending in ("'s", "’s", "ing", "ly", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)].rstrip("e")
    return word.rstrip("e") if len(word) > 4 else word
