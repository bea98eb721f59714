"""Answers that were filled in."""

from __future__ import annotations

import polars as pl

from curate.measure import only
from curate.stage import Field, Filter, Setting, drop, keep

_OUTSIDE = r"(?s)```.*?(?:```|\z)|`[^`\n]*`"
_LINKS = r"!?\[[^\]\n]*\]\([^)\n]*\)|\[[^\]\n]*\]:\s*\S+"

_NAMES = (
    r"name|first name|last name|full name|date|today'?s date|address|street address|city|state|zip"
    r"|zip code|phone|phone number"
    r"|email|email address|company|company name|position|job title|title|signature|recipient|sender"
    r"|insert|link|url|amount|number|product|product name|school|university|department|location|time"
    r"|year|contact information|organization"
)
_KINDS = {
    "lorem_ipsum": r"(?i)lorem ipsum",
    "to_do": (
        r"TODO\s*[:：]|\[(?:TODO|TBD|FIXME|TBA)\]|(?m:^\s*(?:TODO|TBD|FIXME)\s*$)"
        r"|(?:[：:（(【\[<]|(?m:^))\s*(?:内容|此处|答案|本节|细节|数据|价格|信息)?待(?:补充|填写|完善|填|定)(?:[)）】\]>。；;，,\s]|$)"
    ),
    "unfilled": (
        # [Your Name], [Insert date here], <insert link>
        r"(?i)(?:^|[\s,.:;：，。、“\"'(（*>_!\p{Han}-])\[\s*(?:"
        r"(?:your|my|insert|enter|add|recipient|sender|customer|client|employer|manager"
        r"|hiring manager|boss|friend|company|product|applicant|candidate|teacher"
        r"|student)(?:['’]s)?[ _/][^\[\]\n=(){}:]{1,50}"
        rf"|(?:{_NAMES}))\s*\](?:$|[^(\[:])"
        r"|<\s*(?:insert|your|enter|fill)[ _-][^<>\n=/]{1,40}>"
        r"|\{\{\s*[A-Za-z_\p{Han}][\w .\p{Han}-]{2,40}\}\}"
        # [插入姓名]、【此处填写】、（请填写日期）
        r"|[\[【（(<《〈]\s*(?:请)?(?:在此|此处|在这里|这里)?(?:插入|填写|填入|输入|替换)(?:您|你)?(?:的)?[^\]】）)>》〉\n]{0,16}[\]】）)>》〉]"
        r"|[\[【]\s*(?:您|你|我|收件人|发件人|公司|客户|对方|申请人|学校|职位|部门|招聘经理|经理|老师)?(?:的)?(?:姓名|名字|名称|日期|地址|电话|电话号码"
        r"|联系方式|联系电话|邮箱|电子邮件|电子邮箱|公司名称|公司名|公司|职位|职位名称|学校名称|签名|收件人|城市|时间|地点|金额)\s*[\]】]"
        r"|(?:此处|在此处|请在此|在此)(?:填写|插入|填入|输入)(?:您|你|内容|相关|姓名|公司|具体)"
    ),
    "crossed_out": (
        r"(?:^|[^\w\p{Han}×]|[\p{Han}：:])(?:[Xx]{3,}|[×ｘＸ]{2,})(?:[\p{Han}，。,.!！、：:\s]|$)"
        r"|[Xx]{2}(?:公司|先生|女士|小姐|大学|学校|中学|部门|经理|老师|同学|集团|银行|医院|小区|客户|用户|有限公司|年[Xx]{1,2}月|省|市[Xx区路])"
    ),
}

# A template was asked for, or the braces mean something in a language of templates.
_ASKS_FOR_TEMPLATE = (
    r"(?i)\b(?:templates?|place-?holders?|fill[- ]?in|boilerplate|skeleton|outline|format|sample"
    r"|example|generic|jinja2?|mustache|handlebars|vue|angular|liquid|latex|django|html|lorem|regex"
    r"|regular expression|todo|wiki\w*|mask\w*|censor\w*|anonymi[sz]\w*|redact\w*)\b"
    r"|模板|模版|范本|范文|范例|样本|样例|占位|填空|格式|表格|示例|正则|脱敏|打码|匿名|假文|通用"
)
_HAS_SUCH = r"\[\s*(?:[Yy]our|[Nn]ame|[Ii]nsert)\b|\{\{|\bTODO\b|[Xx×]{2,}|[\[【](?:姓名|您的|你的|插入)|填写|_{3,}"


class Placeholder(Filter):
    """Drop rows whose answer still has something to fill in: [Your Name], TODO, lorem ipsum, 待补充."""

    field: Field = Setting(default="answer", description="the text that is looked at; code blocks in it are not")

    examples = (
        drop(
            "unfilled",
            instruction="Write a letter to a client.",
            answer="Dear client,\n\nThank you.\n\nSincerely,\n[Your Name]",
        ),
        drop("unfilled", instruction="Announce our sale.", answer="Visit <insert link> before [Insert date here]!"),
        drop(
            "unfilled", instruction="Answer the customer.", answer="Hello {{customer_name}}, your parcel is on its way."
        ),
        drop("unfilled", instruction="给客户写一封信", answer="尊敬的[客户姓名]：\n感谢您的支持。\n[您的姓名]"),
        drop("unfilled", instruction="写一份通知", answer="请于【填写日期】前到（此处填写地点）集合。"),
        drop("to_do", instruction="Describe the plan.", answer="First we measure. TODO: describe the second step."),
        drop("to_do", instruction="介绍一下产品", answer="产品特点：轻便、耐用。价格：待补充"),
        drop("lorem_ipsum", instruction="Describe the shop.", answer="Lorem ipsum dolor sit amet."),
        drop("lorem_ipsum", instruction="描述一下商店", answer="本店简介：Lorem ipsum dolor sit amet"),
        drop("crossed_out", instruction="Who signs?", answer="The contract is signed by XXX, and paid at once."),
        drop("crossed_out", instruction="写一封感谢信", answer="尊敬的XX先生：感谢您来到XX公司。"),
        keep(
            instruction="Write a template for a thank-you letter.", answer="Dear [Name],\n\nThank you.\n\n[Your Name]"
        ),
        keep(instruction="写一个感谢信模板", answer="尊敬的[客户姓名]：\n感谢您。\n[您的姓名]"),
        keep(instruction="Complete: Dear [Name], thank", answer="Dear [Name], thank you for coming."),
        keep(instruction="How do I show a value in Vue?", answer="Write {{ message }} in the page."),
        keep(instruction="How do I greet users?", answer="```html\n<p>Hello {{ user_name }}</p>\n```"),
        keep(instruction="Where are the docs?", answer="See [your account](https://example.com/me) and [Name][1]."),
        keep(instruction="Make a list.", answer="- [ ] Buy milk\n- [x] Feed the cat\n- [X] Sleep"),
        keep(instruction="What is a to-do list?", answer="A todo list holds what you have yet to do."),
        keep(instruction="What decides sex?", answer="女性的性染色体是XX，男性的是XY。"),
        keep(instruction="衣服有哪些尺码？", answer="有S、M、L、XL、XXL和XXXL码。"),
        keep(instruction="What is in the list?", answer="The list is [1, 2, 3] and the type is List[str]."),
        keep(instruction="Which sizes?", answer="We have M, XL, XXL and XXXL in stock."),
        keep(instruction="谁演了xXx？", answer="范·迪塞尔主演了《xXx》（极限特工）。"),
        keep(instruction="What was said?", answer='"[The president] signed the bill," the paper wrote [1].'),
        keep(instruction="请问怎么填表？", answer="在姓名一栏填写您的名字，然后提交即可。"),
    )

    def reasons(self) -> dict[str, pl.Expr]:
        text = self._outside_code()
        kinds = {reason: text.str.contains(pattern) for reason, pattern in _KINDS.items()}
        # A null costs nothing: few answers have something to fill in, and only their instructions are looked at.
        instruction = only(pl.any_horizontal(*kinds.values()), self.text("instruction")).fill_null("")
        asked = instruction.str.contains(_ASKS_FOR_TEMPLATE) | instruction.str.contains(_HAS_SUCH)
        return {reason: found & ~asked for reason, found in kinds.items()}

    def because(self) -> dict[str, pl.Expr]:
        text = self._outside_code()
        return {
            reason: pl.format("“{}”", text.str.extract(pattern, 0).str.strip_chars(' \n,.:;，。：、"“”'))
            for reason, pattern in _KINDS.items()
        }

    def _outside_code(self) -> pl.Expr:
        return self.text(self.field).str.replace_all(_OUTSIDE, " ").str.replace_all(_LINKS, " ")
