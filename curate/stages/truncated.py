"""Answers that come to an end."""

from __future__ import annotations

import polars as pl

from curate.measure import only
from curate.stage import Field, Filter, Setting, drop, keep

_LINE_CHARS = 40  # a shorter last line may be a signature or a verse

_FENCES = r"(?m)^[ \t>]*(?:```|~~~)"

# The last line is prose: no list, heading, table, quotation of code, address, signature or "key: value".
_NOT_PROSE = (
    r"^\s*(?:[-*•·●▪+>#|~=]|\d+[.)、:：]|[(（]?[\da-zA-Z一二三四五六七八九十]{1,3}[)）.、]|[①-⑳]|第[一二三四五六七八九十\d]+)"
    r"|[-–—―~]{1,2}\s*[\p{Lu}\p{Han}《][^.!?。！？]{0,40}(?:\.\s?[^.!?。！？]{0,20})*$"  # who said it
    r"|#[\p{L}\p{N}_]+$"
    r"|https?://\S*$|www\.\S*$|\S+@\S+$|[|=<>{}\\$^]|\w\(|[;}]$|[/_][\w.]+$|\w[：:]\s*\S{1,60}$"
)
_SENTENCE_ENDS = r"[.!?]['\")\]]*\s+[\"'(]?\p{Lu}|[。！？!?；;][”’」』)）]?\s*[\p{Han}“]|[.!?。！？][\"”』」)]*\n"
_OPEN_END = r"[\p{L}\p{N},，、]$"
_FULL_STOP = r"[.!?。！？][\"”’')）]?$"
_COMMA = r"[,，、]$"
_GREETING = (
    r"(?i)^(?:best|kind|warm|yours|sincerely|regards|love|cheers|thanks|thank you|respectfully|warmly"
    r"|cordially|dear|hello|hi)\b"
    r"|^(?:此致|敬礼|祝好|谢谢|您好|你好|亲爱|尊敬)|祝[^，。！]{1,12}[，,]$"
)
# Words that English and Chinese sentences go on from.
_GOES_ON = (
    r"(?i)\b(?:and|or|but|the|a|an|of|to|with|because|which|whose|for|from|by|as|into|such as"
    r"|including|their|its|your|our|is|are|was|were"
    r"|has|have|will|would|can|could|should|than|between|if|when|while|although|so that|due to|in order to|e\.g\.)$"
    r"|(?:以及|和|与|或者?|并且?|而且?|但是?|因为|所以|如果|由于|因此|例如|比如|包括|通过|根据|对于|关于|使得|可以|能够|应该|需要|以便|从而|或是|还有|不仅|此外)$"
)
# Words that nothing ends with, however short it is: not those that a question or a clause may end with ("what it is
# for"), but where a plain statement begins with its subject.
_DANGLES = (
    r"(?i)(?:[\w'’,:-]+ ){2}[^\n]*(?-u:\b)(?:the|an|and|or|because|whose|such as|including|their|its|your|our|than"
    r"|although|so that|due to|in order to|by which|in which|of which|is a|are a|with a|as a|of a|to a|in a|for a)$"
    r"|^(?:The|An?|This|These|Those|You should|You can|It) (?:[\w'’-]+ ){1,12}"
    r"(?:is|are|was|were|of|to|with|by|from|has|have)$"
    r"|[\p{Han}][^\n]{2,}(?:以及|[和与或]|或者|并且|因为|所以|如果|由于|因此|例如|比如|包括|通过|根据|对于|关于|使得|以便|从而|或是"
    r"|不仅|此外|然后点击|然后选择|然后打开|然后输入|分别是)$"
    r"|\p{Han}{2,}的\p{Han}{0,8}(?:[^不就还都只但可于总要说正\P{Han}]|首都)是$"
    r"|\p{Han}{3,}[，,]\s*(?:然后|接着|最后|并|再|先|请|把|将|让|从|向|在|可以|需要|应该)$"
)
_WH = (
    r"(?i)(?-u:\b)(?:who|what|where|how|that|which|why|whom)(?-u:\b)[^\n]*"
    r"(?-u:\b)(?:is|are|was|were|of|to|with|by|from|has|have)$"
)
_SHORT_CHARS = 12
_ASKS_FOR_PART = (
    r"(?i)(?-u:\b)(?:continue|complete|finish|fill|blank|next word|conjunction|preposition|word|tokens?|split"
    r"|translat\w+)(?-u:\b)"
    r"|续写|补全|填空|接龙|连词|介词|词|翻译|分词"
)
# 的 may end a sentence (这是很重要的), but not where nothing says that something is so.
_IS_SO = r"[是会能很挺够该要得可最有真对好样么多别些之不][^，。,]{0,14}的$"

# Opened in the last line and not closed. A colon before a bracket is a face.
_OPEN_BRACKET = r"(?:^|[^:;=8\n-])\([^()\n]*$|（[^()（）\n]*$|【[^】\n]*$|《[^》\n]*$|「[^」\n]*$|“[^”\"\n]*$"
_OPEN_QUOTE = r"(?:^|[\s(:])\"[\p{L}\p{N}][^\"\n]*$"
_LOOKS_LIKE_CODE = (
    r"(?m)[;{}]\s*$|^\s*(?:def|class|import|from|return|SELECT|#include|<[a-z!/])\b"
    r"|\\(?:frac|begin|left|sum|int)|^\s{4,}\S"
)


class Truncated(Filter):
    """Drop rows whose answer breaks off: open code block, open bracket, comma or half a sentence at the end."""

    field: Field = Setting(default="answer", description="the text that is looked at")
    min_chars: int = Setting(
        default=80,
        ge=1,
        description="shorter prose may end as it likes, but for words that nothing ends with; a Chinese character "
        "counts as two",
    )

    version = 2

    examples = (
        drop("mid_sentence", instruction="What do plants need?", answer="Plants need light, water and"),
        drop("mid_sentence", instruction="Capital of France?", answer="The capital of France is"),
        drop("mid_sentence", instruction="How do I reset it?", answer="To reset the router, hold the"),
        drop("mid_sentence", instruction="植物需要什么？", answer="植物需要阳光、水分和"),
        drop("mid_sentence", instruction="法国的首都是哪里？", answer="法国的首都是"),
        drop("mid_sentence", instruction="怎么退货？", answer="请先登录您的账户，然后"),
        keep(instruction="Who wrote it?", answer="I do not know who the author is"),
        keep(instruction="What is a hook for?", answer="It is what coats are hung from"),
        keep(instruction="Name a novel.", answer="The Old Man and the Sea"),
        keep(instruction="Which conjunction fits?", answer="The right conjunction is and"),
        keep(instruction="他是谁？", answer="我也不知道他到底是谁"),
        keep(instruction="写一个书名", answer="战争与和平"),
        keep(instruction="什么颜色？", answer="红色、白色和蓝色"),
        keep(instruction="他们是学生吗？", answer="据我所知，他们都是"),
        drop(
            "mid_sentence",
            instruction="怎样给扫地机画禁区",
            answer="打开 App，进入“地图管理”，点“禁区”，在地图上拖出一个方框，把想避开的地方框住，然后点右下角的",
        ),
        keep(
            instruction="植物需要什么？",
            answer="植物的生长离不开阳光、水分和空气，同时还需要从土壤中吸收多种矿物质，这些对它来说都是非常重要的",
        ),
        drop(
            "breaks_off",
            instruction="What is photosynthesis?",
            answer=(
                "Photosynthesis is how plants make food from light. It takes place in the leaves, "
                "where chlorophyll takes up the energy of sunlight and turns water and carbon diox"
            ),
        ),
        drop(
            "breaks_off",
            instruction="什么是光合作用？",
            answer="光合作用是植物利用光能制造养分的过程。它发生在叶片中，叶绿素吸收阳光的能量，把水和二氧化碳转化为葡萄糖和氧气，这一过程对地球上的生命至关重",
        ),
        drop(
            "mid_sentence",
            instruction="What do plants need?",
            answer=(
                "Plants need light, water and air to grow well, and they also need a number of "
                "minerals from the soil, such as"
            ),
        ),
        drop(
            "mid_sentence",
            instruction="植物需要什么？",
            answer="植物的生长离不开阳光、水分和空气，同时还需要从土壤中吸收多种矿物质，比如氮、磷、钾以及",
        ),
        drop(
            "mid_sentence",
            instruction="植物需要什么？",
            answer="植物的生长离不开阳光、水分和空气，同时还需要从土壤中吸收多种矿物质，氮、磷、钾、钙、镁，",
        ),
        drop(
            "open_code", instruction="Add two numbers.", answer="Here it is:\n\n```python\ndef add(a, b):\n    return a"
        ),
        drop("open_code", instruction="写一个加法函数。", answer="代码如下：\n```python\ndef add(a, b):\n    return a"),
        drop(
            "open_bracket",
            instruction="What do plants need?",
            answer=(
                "Plants need light, water and air to grow well; they also take minerals from the "
                "soil (nitrogen, phosphorus and potass"
            ),
        ),
        drop(
            "open_bracket",
            instruction="植物需要什么？",
            answer="植物的生长离不开阳光、水分和空气，同时还需要从土壤中吸收多种矿物质（氮、磷、钾、钙、镁",
        ),
        keep(instruction="What is photosynthesis?", answer="Photosynthesis is how plants make food from light."),
        keep(instruction="什么是光合作用？", answer="光合作用是植物利用光能制造养分的过程。"),
        keep(instruction="Capital of France?", answer="Paris"),
        keep(instruction="法国首都？", answer="巴黎"),
        keep(
            instruction="Summarise.",
            answer=(
                "Plants convert light energy into chemical energy that is stored in glucose and "
                "used later on by the plant itself"
            ),
        ),
        keep(
            instruction="概括一下。",
            answer="植物把光能转化为化学能并储存在葡萄糖中供自己日后生长和繁殖时慢慢使用的一个重要的生物化学过程",
        ),
        keep(
            instruction="List three fruits.",
            answer=(
                "Here are three fruits that you will find in nearly every shop. They keep well:\n"
                "\n1. Apples\n2. Oranges\n3. Bananas"
            ),
        ),
        keep(
            instruction="列出三种水果。",
            answer="下面是每家商店都能买到的三种水果。它们都很耐放，营养丰富，适合日常食用：\n\n- 苹果\n- 橙子\n- 香蕉",
        ),
        keep(
            instruction="Write to Ann.",
            answer=(
                "Dear Ann,\n\nThank you for your letter. It was good to hear from you, and I hope "
                "to see you again soon.\n\nBest regards,\n\nJohn Smith"
            ),
        ),
        keep(
            instruction="给安写封信。",
            answer="亲爱的安：\n\n谢谢你的来信。很高兴收到你的消息，希望很快能再见到你，祝你和家人一切都好。\n\n此致\n敬礼\n\n约翰",
        ),
        keep(instruction="Add two numbers.", answer="```python\ndef add(a, b):\n    return a + b\n```"),
        keep(
            instruction="Where is it?",
            answer=(
                "You will find everything on our page. It is kept up to date by the team every "
                "single week: https://example.com/docs"
            ),
        ),
        keep(
            instruction="How was it?",
            answer=(
                "It was fun. I got lost in the woods for two hours and then a dog led me home to my own front door :("
            ),
        ),
        keep(
            instruction="Fill the table.",
            answer=(
                "| Plant | Needs |\n|---|---|\n| Cactus | light and very little water from time "
                "to time |\n| Fern | shade and water"
            ),
        ),
        keep(
            instruction="表格",
            answer="| 植物 | 需要 |\n|---|---|\n| 仙人掌 | 充足的阳光以及很少的水分，偶尔浇一点 |\n| 蕨 | 阴凉和水分",
        ),
        keep(
            instruction="How tall is he?",
            answer="He is 6'2\" tall and still grows. His brother, who is two years older, is said to be 6'4\" tall.",
        ),
    )

    def reasons(self) -> dict[str, pl.Expr]:
        text = self.text(self.field)
        ending = self._ending()
        short = only(
            ending.str.contains(_OPEN_END) & (_width(text) < self.min_chars) & (_width(text) >= _SHORT_CHARS), ending
        )
        last = short.str.extract(r"([^\n]*)$", 1)
        dangles = last.str.contains(_DANGLES) & ~last.str.contains(_WH) & ~last.str.contains(_NOT_PROSE)
        dangles = dangles & ~short.str.contains(_LOOKS_LIKE_CODE)
        partly = only(dangles, self.text("instruction")).str.contains(_ASKS_FOR_PART).fill_null(False)
        # Most answers end in a full stop: the rest is looked at closely, and a null costs nothing.
        ending = only(ending.str.contains(_OPEN_END) & (_width(text) >= self.min_chars), ending)
        line = ending.str.extract(r"([^\n]*)$", 1)
        prose = ~line.str.contains(_NOT_PROSE) & ~ending.str.contains(_LOOKS_LIKE_CODE)
        comma = line.str.contains(_COMMA)
        end = line.str.tail(16)
        of = end.str.ends_with("的") & ~end.str.contains(_IS_SO)
        goes_on = (comma & ~line.str.contains(_GREETING)) | end.str.contains(_GOES_ON) | of
        in_bracket = ending.str.contains(_OPEN_BRACKET) | ending.str.contains(_OPEN_QUOTE)
        return {
            "open_code": (text.str.count_matches(_FENCES) % 2 == 1) & ~self._ending().str.contains(_FULL_STOP),
            "open_bracket": prose & ~comma & in_bracket,
            "mid_sentence": (prose & goes_on & (_width(line) >= _LINE_CHARS)).fill_null(False)
            | (dangles & ~partly).fill_null(False),
            "breaks_off": prose & ~comma & ending.str.contains(_SENTENCE_ENDS) & (_width(line) >= self.min_chars),
        }

    def because(self) -> dict[str, pl.Expr]:
        ends = pl.format("ends “…{}”", self._ending().str.tail(40))
        return dict.fromkeys(("open_code", "open_bracket", "mid_sentence", "breaks_off"), ends)

    def _ending(self) -> pl.Expr:
        return self.text(self.field).str.tail(600).str.strip_chars_end()


def _width(text: pl.Expr) -> pl.Expr:
    """Characters, a Chinese one as two: it is three bytes."""
    return (text.str.len_chars() + text.str.len_bytes()) / 2
