"""Answers that say something of their own."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs

from curate.measure import only
from curate.stage import Field, Filter, Setting, drop, keep

# Whole sentences. An answer goes when it is nothing but these, one after another.
_EN = (
    r"(?:is there )?anything else (?:that )?(?:i|we) can (?:help|assist|do)[^.!?\n]{0,40}",
    r"(?:how|what) (?:can|may) i (?:help|assist|do)[^.!?\n]{0,30}",
    (
        r"(?:please )?(?:feel free to|don't hesitate to|do not hesitate to|let (?:me|us) know"
        r"|just let me know|contact us|reach out)[^.!?\n]{0,90}"
    ),
    (
        r"(?:if you )?(?:have|need)(?: you)?[^.!?\n]{0,50}(?:questions?|help|assistance"
        r"|concerns)[^.!?\n]{0,70}(?:ask|contact|reach out|let (?:me|us) know|hesitate)[^.!?\n]{0,40}"
    ),
    (
        r"thank(?:s| you)(?: (?:so|very) much)?(?: for (?:contacting|your (?:question|inquiry|enquiry"
        r"|patience|message|time|understanding|support|business)|reaching out|using|choosing|asking"
        r"|calling)[^.!?\n]{0,50})?"
    ),
    r"you(?:'re| are) (?:very |most )?welcome",
    r"(?:it's |it is )?my pleasure|glad (?:i could|to) (?:help|hear that)[^.!?\n]{0,20}|happy to help",
    (
        r"(?:have|enjoy) (?:a|an|your|the rest of your) (?:\w+ )?(?:day|evening|weekend|one|night"
        r"|afternoon|morning|time)(?: ahead)?"
    ),
    r"(?:i )?hope (?:this|that|it) (?:helps|is helpful)(?: you)?|hope i could help",
    r"(?:hi|hello|hey|hi there|hello there|greetings|good(?:bye| bye)|bye|take care)",
    r"i(?:'m| am) (?:always )?here to (?:help|assist)[^.!?\n]{0,40}",
    r"(?:i )?(?:would|will|'d|'ll)? ?be (?:happy|glad) to (?:help|assist)(?: you)?(?: with (?:that|this))?",
)
_ZH = (
    r"(?:非常)?(?:感谢|谢谢)(?:您|你)?(?:的)?(?:咨询|来电|提问|关注|支持|理解|配合|耐心等待|耐心|反馈|光临|惠顾|使用|信任|联系|询问|垂询)?(?:我们)?",
    r"祝(?:您|你|大家)?(?:生活|工作|学习|购物|一切|身体|使用|旅途)?(?:愉快|顺利|幸福|健康|开心|如意|好)|祝(?:您|你)(?:有(?:个|一个))?(?:美好|愉快|开心)的?(?:一天|周末)?",
    r"(?:请问)?(?:您|你)?(?:还)?有(?:什么|其他|其它|别的|任何)[^，。！？\n]{0,12}(?:帮|协助|服务|问题|需要)[^，。！？\n]{0,14}",
    r"(?:请问)?(?:有什么|有啥)?(?:我)?(?:可以|能)(?:帮助?|协助|为)(?:到)?(?:您|你)[^，。！？\n]{0,8}",
    (
        r"(?:如果?|若|如有|假如)?(?:您|你)?(?:还)?(?:有|需要)?(?:任何|其他|其它|什么|更多)?(?:疑问|问题|需要|需求|帮助)[^。！？\n]{0,12}(?:请"
        r"|欢迎|可以)?(?:随时|尽管|再次|继续)?(?:联系|咨询|提问|询问|告诉|告知|问)(?:我们|我|客服)?"
    ),
    r"(?:请|欢迎)?(?:随时|再次|继续)(?:联系|咨询|提问|询问|告诉|光临|来)(?:我们|我)?",
    r"(?:很高兴|很荣幸|非常高兴|乐意)(?:能)?(?:为您|帮助您|为你|帮助你|帮到您|帮到你|能帮到你|效劳)[^，。！？\n]{0,6}",
    r"(?:不用|不必|别)?(?:客气|谢)(?:了)?|不用谢|应该的|没关系|希望(?:这|以上|对您|对你)[^，。！？\n]{0,14}(?:帮助|有用|有所帮助)",
    r"(?:您|你)好|再见|亲|亲爱的|请稍等|稍等",
)
_ACK = (
    r"ok(?:ay|ey)?|sure(?: thing)?|of course|certainly|absolutely|got it|understood|noted|alright"
    r"|all right|no problem|will do|sounds good|i see"
    r"|好的?|好滴|好哒|好嘞|嗯+|嗯嗯|行|可以的|没问题|明白(?:了)?|了解(?:了)?|知道了|收到|当然(?:可以)?|是的呢|哦+|噢|没事"
)
_BETWEEN = r"[\s,.!?，。！？~～;；、:：…😊🙂👍❤️🙏-]*"
_PHRASES = rf"(?i)^{_BETWEEN}(?:(?:{'|'.join((*_EN, *_ZH))}){_BETWEEN})+$"
_ACKS = rf"(?i)^{_BETWEEN}(?:(?:{_ACK}){_BETWEEN}){{1,3}}$"
# "Sure! Is there anything else?" is both.
_MIXED = rf"(?i)^{_BETWEEN}(?:(?:{'|'.join((*_EN, *_ZH))}|{_ACK}){_BETWEEN})+$"
_SELF_EN = (
    r"as an? (?:\w+ ){0,2}(?:ai|artificial intelligence|language model)\b|i(?:'m| am) (?:sorry|afraid|just|only|not"
    r"|an? (?:\w+ ){0,2}(?:ai|language model|machine)|unable|programmed|designed|here|ready|happy|glad|always"
    r"|committed)\b"
    r"|i (?:do not|don't|cannot|can't|can not|can only|could not|couldn't|will not|won't|am unable|lack|have no|was not"
    r"|wasn't|never|was (?:created|trained|designed)|exist|can (?:\w+ )?(?:help|assist)|will do my best)\b"
    r"|my (?:purpose|programming|knowledge|training|responses|role|goal|function)\b"
    r"|(?:do not|don't|cannot|can't|am not|lack|have no|only)\b"
    r"|(?:please|you should|i (?:suggest|recommend)(?: that)?(?: you)?) (?:consult|consulting|seek"
    r"|contact|see|ask|speak)\b"
)
_SELF_ZH = (
    r"(?:抱歉|对不起|很抱歉|(?:作为|身为)[^，。\n]{0,20}(?:AI|人工智能|模型|助手)|我(?:只?是|没有?|不|无法|无|只能|仅|目前|暂时|并|很高兴|很乐意"
    r"|随时|会尽|将尽|的(?:目的|目标|任务|职责|知识|训练)|可以(?:帮助|协助|为(?:您|你)(?:服务|提供帮助))|能(?:帮助|为(?:您|你)服务)|来为?(?:您|你)"
    r"|(?:非常|十分)?(?:高兴|乐意|荣幸))|(?:请|建议)(?:您|你)?(?:去|向|咨询|联系|寻求|求助)|也?(?:没有|无法|不能|不会|不具备|并不|不可以))"
)
_PREAMBLE = (
    r"(?i)^[\s\"“]*(?:(?:i'm |i am )?(?:sorry|apologi\w+)[^.!?\n]{0,12}(?:but )?)?"
    r"as an? (?:\w+ ){0,2}(?:ai|artificial intelligence|language model)\b[^.!?\n]{0,40}?,? ?i\b"
    r"|^[\s\"“]*(?:抱歉|对不起|很抱歉)?[，,]?(?:但|但是)?(?:作为|身为)(?:一个|一名|一款|一位|个)?[^，。\n]{0,8}(?:AI|人工智能"
    r"|大?语言模型)[^，。\n]{0,12}[，,]?\s*我"
)
# What an assistant says of itself, clause by clause: what is left of an answer behind these is help.
_CLAUSE = r"[^.!?,;\n。！？，；]*"
_OF_ITSELF = (
    r"(?i)(?:^|[.!?,;。！？，；\n])[\s\"“]*(?:(?:but|and|so|yet|therefore|however|nor|or|that said)[ ,]+"
    r"|(?:但是?|不过|因此|所以|而且|并且?|同时|而)[，,]?)?"
    rf"(?:(?:{_SELF_EN}|{_SELF_ZH}){_CLAUSE}|{'|'.join((*_EN, *_ZH))})"
)
_PREAMBLE_CHARS = 600
_HELP_WIDTH = 12
"""So much besides is help; a Chinese character counts as two."""
_ABOUT_ITSELF = (
    r"(?i)\b(?:are you|who are you|what are you|your name|yourself|you (?:a|an) (?:ai"
    r"|robot|human|bot))\b|你是(?:谁|什么|不是|AI|人|机器)|你叫什么|介绍(?:一下)?你自己|你的名字"
)
_ASKS_FOR_WORDING = (
    r"(?i)\b(?:translat|paraphras|rewrite|rephrase|reword|respon[ds]|reply|greet|say|write|phrase"
    r"|classif|correct|complete|convert|choose|select|generate|compose)\w*"
    r"|翻译|译成|译为|改写|改成|润色|回复|问候|怎么说|写|用.{0,6}说|分类|选择|转换|造句|填空|纠正|生成"
)


class Boilerplate(Filter):
    """Drop rows whose only answer is a stock phrase or a bare "OK", or "As an AI language model, I …" and no help."""

    version = 2

    field: Field = Setting(default="answer", description="the text that is looked at")
    max_chars: int = Setting(default=200, ge=1, description="longer answers are not taken for stock phrases")
    drop_ai_preamble: bool = Setting(
        default=True, description="whether 'As an AI language model, I …' goes where nothing follows that helps"
    )

    examples = (
        drop(
            "stock_phrase",
            instruction="What is your return policy?",
            answer="Is there anything else I can help you with?",
        ),
        drop("stock_phrase", instruction="Where is Oslo?", answer="Thank you for contacting us. Have a nice day!"),
        drop("stock_phrase", instruction="怎么退货？", answer="感谢您的咨询，祝您生活愉快！"),
        drop("stock_phrase", instruction="怎么退货？", answer="您好，请问有什么可以帮您？"),
        drop("stock_phrase", instruction="运费多少？", answer="好的，如果您还有其他问题，欢迎随时联系我们。"),
        drop("acknowledgement", instruction="Explain gravity.", answer="Sure!"),
        drop("acknowledgement", instruction="解释一下重力。", answer="好的，没问题。"),
        drop(
            "ai_preamble",
            instruction="Best film?",
            answer="As an AI language model, I do not have preferences, and I cannot watch films.",
        ),
        drop("ai_preamble", instruction="最好的电影？", answer="作为一个AI语言模型，我没有个人喜好，也无法看电影。"),
        drop("ai_preamble", instruction="Bake bread.", answer="As an AI assistant, I am happy to help you."),
        drop("ai_preamble", instruction="怎么烤面包？", answer="作为AI助手，我很高兴为您服务。"),
        keep(
            instruction="Best film?",
            answer="As an AI language model, I do not have preferences, but Casablanca is loved.",
        ),
        keep(instruction="最好的电影？", answer="作为一个AI语言模型，我没有个人喜好，但《活着》广受好评。"),
        keep(
            instruction="How do I bake bread?",
            answer="As an AI assistant, I can help you with that. Mix flour with water, yeast and salt, and bake it.",
        ),
        keep(
            instruction="怎么烤面包？",
            answer="作为AI助手，我来为您介绍：取面粉，加水、酵母和盐，发酵后再烤三十分钟。",
        ),
        keep(
            instruction="What is your return policy?",
            answer="You can return it in 30 days. Is there anything else I can help you with?",
        ),
        keep(instruction="怎么退货？", answer="请在订单页点击退货。感谢您的咨询，祝您生活愉快！"),
        keep(instruction="Is the sky blue?", answer="Yes."),
        keep(instruction="天空是蓝色的吗？", answer="是的。"),
        keep(instruction="Translate into English: 谢谢", answer="Thank you."),
        keep(instruction="“Thank you” 用中文怎么说？", answer="谢谢"),
        keep(instruction="Are you human?", answer="As an AI language model, I am not human."),
        keep(instruction="你是谁？", answer="作为一个AI语言模型，我可以回答问题。"),
        keep(
            instruction="What is GPT?", answer="GPT is a family of models. As an AI language model, it predicts words."
        ),
        keep(instruction="Which word fits: sure or maybe?", answer="sure"),
        keep(
            messages=[
                {"role": "user", "content": "What's 15% of 80?"},
                {"role": "assistant", "content": "15% of 80 is 12."},
                {"role": "user", "content": "Thanks!"},
                {"role": "assistant", "content": "You're welcome! Have a great day!"},
            ]
        ),
        keep(
            messages=[
                {"role": "user", "content": "八十的百分之十五是多少？"},
                {"role": "assistant", "content": "是十二。"},
                {"role": "user", "content": "谢谢"},
                {"role": "assistant", "content": "不客气！"},
            ]
        ),
    )

    def reasons(self) -> dict[str, pl.Expr]:
        whole = self.text(self.field)
        short = only(whole.str.len_chars() <= self.max_chars, whole).str.replace_all("’", "'", literal=True)
        core = short.str.strip_chars(" \n.!?。！？,，")
        acks = short.str.contains(_ACKS)
        phrase = short.str.contains(_PHRASES) | (short.str.contains(_MIXED) & ~acks)
        # A null costs nothing: few answers are stock phrases, and only their instructions are looked at.
        instruction = only(acks | phrase, self.text("instruction")).fill_null("")
        # "You're welcome" after several turns closes a talk that is of use.
        asked = (
            instruction.str.contains(_ASKS_FOR_WORDING)
            | instruction.str.contains(core, literal=True)
            | _has_more_answers()
        )
        found = {
            "acknowledgement": acks & ~asked,
            "stock_phrase": phrase & (core.str.len_chars() > 0) & ~asked,
        }
        if self.drop_ai_preamble:
            preamble = self.ai_preamble()
            text = only(preamble, whole.str.head(_PREAMBLE_CHARS)).str.replace_all("’", "'", literal=True)
            left = text.str.replace_all(_OF_ITSELF, " ").str.replace_all(r"[^\p{L}\p{N}]+", "")
            found["ai_preamble"] = preamble & ((left.str.len_chars() + left.str.len_bytes()) / 2 < _HELP_WIDTH)
        return found

    def ai_preamble(self) -> pl.Expr:
        """Whether it begins "As an AI language model, I", and that was not what was asked about."""
        opening = self.text(self.field).str.head(120).str.replace_all("’", "'", literal=True)
        preamble = opening.str.contains(_PREAMBLE)
        return preamble & ~only(preamble, self.text("instruction")).str.contains(_ABOUT_ITSELF).fill_null(False)

    def because(self) -> dict[str, pl.Expr]:
        said = pl.format("“{}”", self.text(self.field).str.strip_chars().str.head(80))
        return {"acknowledgement": said, "stock_phrase": said, "ai_preamble": said}


def _has_more_answers() -> pl.Expr:
    own = pl.element().struct.field("role") == "assistant"
    more = cs.by_name("messages", "prompt", require_all=False).list.eval(own.cast(pl.Int64)).list.sum() > 1
    return pl.any_horizontal(pl.lit(False), more)
