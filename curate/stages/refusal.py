"""Answers that are answers."""

from __future__ import annotations

import polars as pl

from curate.measure import only
from curate.stage import Field, Filter, Setting, drop, keep

# An apology, or none; then the speaker; then that it cannot; then one of the things that assistants decline to do.
_SORRY_EN = (
    r"(?:(?:oh|um|well|hi|hello|unfortunately|thank you[^.!\n]{0,60}|i understand[^.!\n]{0,60})[,.! ]+)?"
    r"(?:(?:i'?\s?a?m |we'?re )?(?:(?:so|very|really|truly|terribly) )?(?:sorry|afraid)|(?:i |my "
    r"|we )?(?:sincerely )?apologi[sz]\w+|regrettably|unfortunately)"
)
_CANNOT_EN = (
    r"(?:cannot|can\s?not|can'?t|won'?t|will not|(?:am|'m) (?:not |un)(?:able|programmed|allowed"
    r"|permitted|designed|equipped)"
    r"(?: to)?|(?:must|have to) (?:decline|refuse)|refuse to|decline to|do(?:n'?t"
    r"| not) (?:feel comfortable|support|condone))"
)
_LACK_EN = (
    r"do(?:n'?t| not) (?:currently |actually )?have (?:\w+[ -]){0,2}"
    r"(?:ability|capability|capabilities|capacity|access|permission|authori[sz]ation)\b"
)
_DO_EN = (
    r"(?:(?:directly|actually|fully|currently|physically|really|accurately|in good conscience"
    r"|ethically|legally|personally|just|possibly|,|as an ai[^,]{0,30}) ?)*"
    r"(?:assist|help(?: you| with| out| in|\.|,|$)|provide|fulfil|comply|answer|generate|create"
    r"|continue|complete|write|support|engage|discuss|offer|give (?:you|advice|medical|legal"
    r"|financial|out)|share|participate|produce|condone|promote|perform|process|access|browse|open"
    r"|view|see|hear|watch|listen|search|execute|recommend|do (?:that|this|so)|respond|translate"
    r"|tell you|advise|encourage|facilitate|predict|book|order|schedule|play|send|make (?:a "
    r"|an )?(?:call|purchase|reservation|payment)|meet (?:this|that|your)|satisfy|$)"
)
_AI_EN = (
    r"(?:as an? (?:\w+ ){0,2}(?:ai|a\.i\.|artificial intelligence|language model|assistant"
    r"|chatbot|bot)\b[^.!?\n]{0,60}?[, ]+)"
)

_EN = (
    r"(?i)^[\s\"'“*]*(?:"
    # I'm sorry, but (as an AI …) I cannot assist …
    rf"{_SORRY_EN}[,.!]?\s+(?:(?:but|that|however|for (?:the"
    rf"|any) [^,.\n]{{0,30}})[, ]+)?(?:but )?{_AI_EN}?i(?: |'m |'ll ){{0,1}}(?:also |simply "
    rf"|just )?(?:{_CANNOT_EN},? ?{_DO_EN}|{_LACK_EN})"
    # As an AI, I cannot …
    rf"|{_AI_EN}(?:it (?:is|would be|'s) (?:not (?:possible|appropriate|ethical)|inappropriate"
    rf"|unethical|against)|i(?: |'m )?(?:also |simply |just )?(?:{_CANNOT_EN},? ?{_DO_EN}|{_LACK_EN}))"
    # I cannot assist with …
    r"|i (?:cannot|can'?t|can not|won'?t|will not|am unable to|am not able to"
    r"|must decline to) (?:assist|help(?: you)? with|fulfil|comply|provide (?:any |you |instructions"
    r"|information|guidance|assistance|advice|medical|legal|personal|content|support for)|engage in"
    r"|support|condone|participate in|generate (?:content|text|any)|create (?:content|material)"
    r"|write (?:content|about this)|do that|answer (?:that|this|your)|discuss (?:that|this))"
    r"|i (?:must|have to) (?:refuse|decline)\b"
    r"|(?:sorry|apologies|unfortunately)[,.! ]+(?:but )?(?:i )?(?:can'?t|cannot|won'?t) (?:do|help"
    r"|answer|assist|provide|comply)"
    r"|(?:this|your|that) (?:request|question|prompt|content|topic) (?:is (?:inappropriate|against"
    r"|not (?:appropriate|something i))|violates|goes against)"
    r"|it (?:is|would be) (?:not appropriate|inappropriate|unethical|illegal)[^.\n]{0,80}(?:for me"
    r"|i (?:cannot|can't|won't))"
    r")"
)

_I_ZH = (
    r"(?:我|本人|本助手|本AI|小助手|小编"
    r"|(?:作为|身为)[^，。,\n]{0,25}(?:AI|人工智能|语言模型|模型|助手|机器人|程序)[^，。,\n]{0,12}[，,]?\s*(?:我)?)"
)
_CANNOT_ZH = (
    r"(?:无法|不能够?|没有?办法|不可以|不会|无权|没有(?:能力|权限|权利)|不具备[^，。,\n]{0,15}能力"
    r"|不被允许|拒绝|不便|难以|不支持|做不到|帮不了|帮不到|不适合|不应该?)"
)
_LACK_ZH = r"(?:不具备|没有)[^，。,\n]{0,14}(?:能力|权限|功能)"
_DO_ZH = (
    r"(?:提供|回答|解答|帮助|帮您|帮你|帮忙|协助|满足|完成|处理|生成|执行|给出|回复|参与|支持|编写|创作|撰写|讨论|实现|访问|查看|播放|打开|浏览|获取|回应"
    r"|配合|继续|进行|为您|为你|给您|给你|告诉|透露|评论|评价|预测|下载|上传|发送|翻译|直接|实时|这(?:样|么)做|做到|涉及|推荐|显示|展示|识别)"
)

_ZH = (
    r"^[\s\"“*]*(?:"
    rf"(?:您好[，,！!。\s]*)?(?:非常|很|十分|实在|真的|真是|真|深感|感到|我(?:感到)?(?:很|非常)?){{0,3}}(?:抱歉|对不起|不好意思|遗憾"
    rf"|歉意)[^。！？!?\n]{{0,24}}?{_I_ZH}[^。！？!?，,\n]{{0,14}}?(?:{_CANNOT_ZH}[^。！？!?，,\n]{{0,16}}?{_DO_ZH}|{_LACK_ZH})"
    rf"|(?:非常|很|十分|实在)?(?:抱歉|对不起|不好意思|遗憾)[，,。！\s]*(?:但|但是|不过)?(?:这个|该|您的|你的|此)?(?:问题|请求|要求"
    rf"|话题)?[^。，,\n]{{0,6}}(?:无法|不能)(?:回答|提供|满足|协助|帮助|完成|处理|继续|给出|生成)(?:您|你|这|该|此|任何|有关|关于|相关|。|，|！|$)"
    rf"|(?:作为|身为|我是)[^，。,\n]{{0,25}}(?:AI|人工智能|语言模型|模型|助手|机器人)[^，。,\n]{{0,12}}[，,]\s*(?:所以"
    rf"|因此)?我?[^。！？!?，,\n]{{0,10}}?(?:{_CANNOT_ZH}[^。！？!?，,\n]{{0,16}}?{_DO_ZH}|{_LACK_ZH})"
    rf"|我(?:很|非常)?(?:无法|不能|没办法|没有办法|不可以|拒绝|不会)(?:直接)?(?:提供|回答|帮助|协助|满足|帮您|帮你|参与|支持|生成|为您|为你|给您|给你"
    rf"|讨论)(?:您|你|这|该|此|任何|有关|关于|相关|与|非法|违法|违反|不当|具体|实时|医疗|法律|涉及)"
    r"|(?:您|你)的(?:请求|问题|要求|提问)(?:违反|不符合|涉及(?:违法|违规|敏感)|不(?:合适|恰当))"
    r"|(?:这个|该|此)(?:话题|问题|请求)(?:涉及|属于|比较)[^。\n]{0,12}(?:敏感|违法|违规)[^。\n]{0,20}(?:无法|不能|换)"
    r")"
)

# The answer is then somebody's words, not the assistant's.
_ASKS_FOR_WORDING = (
    r"(?i)\b(?:translat|paraphras|rewrite|rephrase|reword|refus|declin|reject|apolog|sorry"
    r"|turn(?:ing)? down|dialogue|role-?play|pretend|script|quote|summari[sz]e)\w*"
    r"|翻译|译成|译为|改写|改成|润色|拒绝|婉拒|回绝|谢绝|推辞|道歉|致歉|抱歉|对不起|对话|扮演|台词|剧本|转换|造句"
)
_GOES_ON = (
    r"(?i)\b(?:however|but|instead|that said|nevertheless|alternatively"
    r"|nonetheless)\b[^.\n]{0,80}\b(?:here(?:'s| is| are)|i (?:can|could|will"
    r"|would) (?:\w+ )?(?:offer|help|suggest|give|tell|provide|share|explain|describe|try|recommend"
    r"|be happy)|you (?:can|could)|i'll|let me|for example|based on|according to|estimated|generally"
    r"|typically|in general|suggest|some)\b"
    r"|(?:但|但是|不过|然而)[^。\n]{0,30}(?:以下|这里|(?:可以|能够?)(?:给|为|帮|提供|告诉|尝试|参考|通过|根据|使用|推荐|介绍|列出"
    r"|分享|说明|解释|总结|整理|举)|一般来说|通常|建议|例如|如下)|以下是"
    r"|(?:^|\s|[:：。])(?:1|①|一)[.、)）][\s\S]{8,400}?(?:\s|[。；;，、])(?:2|②|二)[.、)）]"
)


class Refusal(Filter):
    """Drop rows whose answer declines to answer; looks at how the answer starts."""

    field: Field = Setting(default="answer", description="the text that is looked at")
    max_chars: int = Setting(
        default=500, ge=1, description="longer answers stay: they go on to help; a Chinese character counts as two"
    )

    examples = (
        drop("refusal", instruction="Tell me a secret.", answer="I'm sorry, but I can't assist with that."),
        drop(
            "refusal",
            instruction="How do I pick a lock?",
            answer="I cannot provide instructions for illegal activities.",
        ),
        drop(
            "refusal", instruction="What time is it?", answer="As an AI language model, I don't have access to a clock."
        ),
        drop(
            "refusal",
            instruction="Book a flight.",
            answer="I'm sorry, but as an AI, I don't have the ability to book flights.",
        ),
        drop("refusal", instruction="Play a song", answer="Unfortunately, I am unable to play music."),
        drop("refusal", instruction="告诉我一个秘密", answer="抱歉，我无法提供该信息。"),
        drop("refusal", instruction="怎么开锁？", answer="对不起，作为一个人工智能助手，我不能协助您进行违法活动。"),
        drop("refusal", instruction="现在几点？", answer="作为AI语言模型，我无法获取实时时间。"),
        drop("refusal", instruction="放首歌", answer="很抱歉，我没有办法为您播放音乐。"),
        drop("refusal", instruction="给我写一段代码", answer="我无法回答这个问题。"),
        keep(instruction="Where is my order?", answer="I'm sorry for the delay, here is your tracking number: 12345."),
        keep(instruction="我的快递呢？", answer="抱歉让您久等了，您的快递已经发出，预计明天送达。"),
        keep(instruction="能退货吗？", answer="非常抱歉，给您带来不便。这款商品支持七天无理由退货，请在订单页申请。"),
        keep(instruction="周末发货吗？", answer="很抱歉，我们周末无法发货，周一会第一时间为您安排。"),
        keep(
            instruction="What is a refusal?",
            answer="A refusal is an answer such as \"I'm sorry, but I can't help with that.\"",
        ),
        keep(instruction="什么是拒答？", answer="拒答是模型不回答问题，例如“抱歉，我无法回答这个问题”。"),
        keep(instruction="Translate: 抱歉，我帮不了你。", answer="I'm sorry, I can't help you."),
        keep(instruction="把 I can't help you 翻译成中文", answer="抱歉，我无法帮助你。"),
        keep(instruction="Decline an invitation politely.", answer="I'm sorry, but I can't make it to your party."),
        keep(instruction="Describe your mood.", answer="I can't help but smile when the sun comes out."),
        keep(instruction="Is 7 even?", answer="No. Seven cannot be divided by two without a remainder."),
        keep(instruction="写一句歌词", answer="我无法忘记你的笑容，像春天的风。"),
        keep(instruction="电梯坏了怎么办？", answer="我们无法立即修好，但可以先走楼梯。"),
        keep(
            instruction="What's the weather like in London in May?",
            answer=(
                "I'm sorry, I can't access live weather. However, here is what May is typically "
                "like: mild, about 17 °C."
            ),
        ),
        keep(
            instruction="推荐几本书",
            answer="作为AI助手，我无法阅读，但可以推荐几本：1.《活着》 2.《围城》 3.《平凡的世界》。",
        ),
        keep(
            instruction="Which trains go there?",
            answer="I'm sorry, I can't access live timetables. Every hour: 1. the express from platform 4 2. the slow "
            "train from platform 7.",
        ),
        keep(
            instruction="五月的伦敦天气怎么样？",
            answer="抱歉，我无法获取实时天气。不过一般来说，伦敦五月气温在十七度左右。",
        ),
    )

    def reasons(self) -> dict[str, pl.Expr]:
        text, start = self.text(self.field), self._start()
        chars, size = text.str.len_chars(), text.str.len_bytes()
        short = chars + (size - chars) / 2 <= self.max_chars  # a Chinese character is three bytes
        declines = start.str.contains(_EN) | start.str.contains(_ZH)
        # A null costs nothing: few answers decline, and only these are looked at closely.
        likely = short & declines
        wording = only(likely, self.text("instruction")).str.contains(_ASKS_FOR_WORDING).fill_null(False)
        goes_on = only(likely, text).str.head(self.max_chars).str.contains(_GOES_ON)
        return {"refusal": likely & ~wording & ~goes_on}

    def because(self) -> dict[str, pl.Expr]:
        found = pl.coalesce(self._start().str.extract(_EN, 0), self._start().str.extract(_ZH, 0))
        return {"refusal": pl.format("starts with “{}”", found.str.strip_chars())}

    def _start(self) -> pl.Expr:
        # "We cannot" is a company speaking to its customers: an answer.
        start = self.text(self.field).str.head(200).str.replace_all("’", "'", literal=True)
        return start.str.replace_all("我们", "本店", literal=True)
