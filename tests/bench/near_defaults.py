"""How short texts are best compared: near duplicates found and different requests merged, by scheme and threshold.

    python tests/bench/near_defaults.py [--pairs 2000] [--seed 7] [--texts FILE]

Requests of 5 to 60 tokens are made up from the templates below, in English and in Chinese (where a character is a
token). Each is paired with itself after light edits, which keep what is asked (1 to 8 % of its tokens, at least one
edit), and with a different request of the same wording: another entity, number, language or operator, a negation, or
two that change places. The Jaccard similarity of each pair is exact.

The different requests are alike on purpose: in real data few pairs are, so that their rates compare schemes and say
nothing of how many rows would be lost. One word in fifty that is another changes less than most light edits do: there
no threshold tells the two apart, and the rates say what each costs.

"words 2e" are pairs of words with the text's edges among them, "chars 3" three characters in a row. Shingles of one
word are the same with edges and without; they are shown once.
"""

from __future__ import annotations

import argparse
import random
import re
import string
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curate.kernels.matching import Entries, common
from curate.kernels.shingles import CHARACTERS, WORDS, shingle_sets
from curate.near import Comparison

THRESHOLDS = (0.7, 0.75, 0.8, 0.85, 0.9)
CLASSES = ((5, 10), (10, 20), (20, 40), (40, 61))
LIMITS = (0.02, 0.05, 0.1)
EDITED = (0.01, 0.08)
OTHERWISE = {"one": 0.5, "two": 0.25, "all": 0.25}
"""How many of a request's slots a different one has another value in, and how often."""

ORDERED = ("language", "unit")
"""Kinds of which two values may not change places: from French into German is not from German into French."""

IDEOGRAPH = "\u3400-\u9fff"
TOKEN = re.compile(rf"[{IDEOGRAPH}]|[^\W_{IDEOGRAPH}]+|[^\w\s]|_")

Chance = random.Random
Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Piece:
    """Part of a request: a slot's value, which says what is asked, or the wording around slots, of no kind."""

    text: str
    kind: str = ""
    aside: bool = False
    """Whether what is asked stays the same with another value."""


@dataclass(frozen=True)
class Family:
    """Templates that go together: what is asked, asides said before it, and what else is wanted, said after it."""

    asked: tuple[str, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edit:
    """A light edit of the wording: one match of the pattern is exchanged."""

    name: str
    pattern: re.Pattern[str]
    change: Callable[[re.Match[str], Chance], str]


@dataclass(frozen=True)
class Language:
    """What requests in a language are made of, and how people word the same request differently."""

    name: str
    space: str
    vocabulary: dict[str, tuple[str, ...]]
    families: tuple[Family, ...]
    commanding: tuple[str, ...]
    greeting: tuple[str, ...]
    edits: tuple[Edit, ...]
    moves: tuple[tuple[str, str, str], ...]
    """Politeness, what may follow it in its place, and how it is said at the end."""


@dataclass(frozen=True)
class Scheme:
    """What shingles are made of."""

    n: int
    unit: int = WORDS
    edges: bool = False

    def __str__(self) -> str:
        return f"{'words' if self.unit == WORDS else 'chars'} {self.n}{'e' if self.edges else ''}"

    def entries(self, texts: pl.Series) -> Entries:
        """What the texts are compared by."""
        return Entries.single(shingle_sets(texts, self.n, self.unit, edges=self.edges))


SCHEMES = (
    Scheme(1),
    *(Scheme(n, WORDS, edges) for n in (2, 3, 5) for edges in (False, True)),
    *(Scheme(n, CHARACTERS) for n in (2, 3, 5)),
)
FIVES = Scheme(5)


def words(text: str) -> tuple[str, ...]:
    """The values of a kind, written with commas between them."""
    return tuple(one.strip() for one in text.split(","))


NUMBERS = {
    "few": tuple(str(number) for number in range(2, 10)),
    "number": tuple(str(number) for number in range(2, 100)),
    "big": tuple(str(number) for number in range(105, 5000, 7)),
    "year": tuple(str(number) for number in range(1850, 2026)),
    "order": tuple(f"A{number}" for number in range(10_240, 99_999, 613)),
    "operator": ("+", "-", "*", "/"),
}

EN_WORDS = {
    "word": words(
        "cat, dog, house, river, bread, window, friend, winter, school, mountain, letter, garden, bridge, candle, "
        "shoe, to forgive, to borrow, ice cream, good morning, thank you very much"
    ),
    "language": words("French, German, Spanish, Italian, Japanese, Korean, Russian, Arabic, Dutch, Turkish, Hindi"),
    "city": words("Paris, Rome, Berlin, Madrid, Tokyo, Cairo, Lima, Oslo, Boston, New York, Mexico City, Vienna"),
    "country": words("France, Italy, Germany, Spain, Japan, Egypt, Peru, Norway, Canada, Brazil, South Africa, India"),
    "person": words("Marie Curie, Isaac Newton, Ada Lovelace, Napoleon, Gandhi, Mozart, Frida Kahlo, Shakespeare"),
    "animal": words("cats, dogs, whales, horses, penguins, bees, elephants, owls, snakes, dolphins"),
    "food": words("pancakes, lentil soup, apple pie, fried rice, tomato salad, beef stew, fish tacos, banana bread"),
    "product": words("phone case, kettle, blue jacket, desk lamp, pair of shoes, router, keyboard, backpack, watch"),
    "topic": words(
        "autumn, friendship, climate change, space travel, remote work, the ocean, online learning, renewable energy, "
        "healthy sleep, city traffic, electric cars, artificial intelligence"
    ),
    "idea": words(
        "photosynthesis, gravity, inflation, recursion, radioactivity, supply and demand, machine learning, evolution, "
        "blockchain, osmosis, immunity, entropy"
    ),
    "form": words("poem, short story, letter, speech, song, blog post, product description, dialogue, joke"),
    "tone": words("friendly, formal, funny, serious, cheerful, neutral, persuasive, dramatic"),
    "audience": words("children, beginners, students, managers, engineers, teachers, tourists, doctors"),
    "job": words("nurse, teacher, lawyer, farmer, designer, student, plumber, driver, chef"),
    "code": words("Python, Java, Rust, Go, C++, C, JavaScript, SQL, Ruby, Kotlin"),
    "task": words(
        "sorts a list of numbers, reverses a string, finds prime numbers, counts words in a file, merges two lists, "
        "removes repeated lines, checks for palindromes, parses dates"
    ),
    "day": words("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"),
    "month": words("January, February, March, April, May, June, July, August, September, October, November, December"),
    "fault": words("broken, late, without a charger, in the wrong size, in the wrong colour, with a scratch, opened"),
    "remedy": words("refund, replacement, discount, new invoice, tracking number, repair"),
    "extreme": words("largest, smallest, oldest, highest, most expensive, cheapest, fastest"),
    "unit": words("metres, feet, kilograms, pounds, litres, gallons, miles, kilometres"),
    "math": words("plus, minus, times, divided by"),
    "part": words("introduction, conclusion, title, summary, table, list of sources"),
    "not_use": ("Use", "Do not use"),
    "not_with": ("with", "without"),
    "not_can": ("can", "cannot"),
    "not_should": ("should", "should not"),
    "not_include": ("Include", "Leave out"),
    "not_before": ("before", "after"),
}

EN_FAMILIES = (
    Family(
        asked=(
            "Translate {word} into {language}.",
            "Translate the word {word} from {language} into {language}.",
            "How do you say {word} in {language}?",
            "What is the {language} word for {word}?",
            "Give me three {language} sentences {not_with} the word {word}.",
            "Translate the following message into {language}: I will arrive in {city} on {day} {not_with} my dog.",
            "Translate this into {language}: we {not_can} meet on {day} {not_before} lunch, so call me in {city}.",
        ),
        before=(
            "I am learning {language} for a trip to {country} in {month}.",
            "My neighbour is a {job} from {city} and only speaks {language}.",
            "We are printing a small menu with {food} for visitors from {country}.",
        ),
        after=(
            "Use a {tone} tone.",
            "{not_include} the pronunciation as well.",
            "It is meant for {audience} who have studied the language for about {number} months.",
            "Give {few} examples that show how people use it in everyday speech in {city}.",
        ),
    ),
    Family(
        asked=(
            "Write a {form} about {topic}.",
            "Write a {tone} {form} about {animal}.",
            "Write a short {form} about {topic} for {audience}.",
            "Create a {form} of {number} lines about {city} in {month}.",
            "Give me {few} ideas for a {form} about {topic}.",
            "Suggest a title for my {form} about {animal}.",
            "Draft an email to my {job} about the meeting on {day}.",
        ),
        before=(
            "I work as a {job} at a small company in {city}.",
            "Our school in {country} is planning an event for {audience} on {day}.",
            "Next {month} I have to speak in front of {number} people.",
        ),
        after=(
            "Keep it under {big} words.",
            "Make it sound {tone} and easy to read for {audience}.",
            "{not_use} rhymes, and mention {person} at least once.",
            "{not_include} a {part} at the end.",
            "The story {not_should} have a happy ending, and it takes place in {city} in {year}.",
        ),
    ),
    Family(
        asked=(
            "Explain {idea} to {audience}.",
            "What is {idea}?",
            "Explain how {idea} works in simple words.",
            "What is the difference between {idea} and {idea}?",
            "Describe the history of {topic} in {country} since {year}.",
            "Why should {audience} know about {idea}?",
            "Give me a short overview of {idea} {not_with} formulas.",
        ),
        before=(
            "I have an exam about this subject on {day} and I have only read {number} pages so far.",
            "My daughter asked me this question yesterday while we were watching {animal} at the zoo.",
            "I teach a class of {number} {audience} in {city}.",
        ),
        after=(
            "Use {few} sentences at most.",
            "Give one example from {country} and one from {country}.",
            "{not_include} a comparison with {idea}.",
            "Write it in a {tone} style, so that {audience} {not_can} follow it easily.",
        ),
    ),
    Family(
        asked=(
            "What is {number} {operator} {number}?",
            "Calculate {number} {math} {number}.",
            "Solve {number} x {operator} {number} = {big}.",
            "Convert {number} {unit} to {unit}.",
            "How many {unit} are {big} {unit}?",
            "What is {number} percent of {big}?",
            "If a train leaves {city} at {number} km per hour, how long does it take to travel {big} km?",
            "A shop sells {number} apples for {big} cents. How much do {number} apples cost {not_with} tax?",
        ),
        before=(
            "This is from a test for {audience}.",
            "A farmer has {number} cows and {number} sheep, and sells {number} of them in {month}.",
            "I am helping a {job} to check the bills of the year {year}.",
        ),
        after=(
            "Show each step of the calculation.",
            "Round the result to {few} digits.",
            "{not_include} the units in the answer.",
            "Then multiply the result by {number} and say whether it is {not_with} remainder.",
        ),
    ),
    Family(
        asked=(
            "Summarise this article about {topic}.",
            "Summarise the life of {person} in {few} sentences.",
            "List {few} facts about {animal}.",
            "Name the {extreme} city in {country}.",
            "What is the {extreme} building in {city}?",
            "Who was {person}?",
            "When did {person} visit {country}?",
            "What happened in {country} in {year}?",
            "Summarise the text: sales in {city} rose by {number} percent in {month}, while costs fell by {big} euros.",
        ),
        before=(
            "I am preparing a quiz for {audience}.",
            "The newspaper of {day} had a long article by a {job} from {city}.",
        ),
        after=(
            "Use bullet points.",
            "{not_include} dates and names.",
            "Write it in {language} for {audience}.",
            "Focus on what happened {not_before} {year}, and use no more than {big} words.",
        ),
    ),
    Family(
        asked=(
            "Write a {code} function that {task}.",
            "How do I write a program in {code} that {task}?",
            "Fix the bug in my {code} program that {task}.",
            "Convert this script from {code} to {code}.",
            "What is the difference between {code} and {code}?",
            "Write a test for a {code} class {not_with} external libraries.",
        ),
        before=(
            "I am a {job} and I started to learn {code} in {year}.",
            "Our server in {city} has {number} cores and runs a job every {day}.",
        ),
        after=(
            "{not_include} comments.",
            "{not_use} recursion.",
            "The input has up to {big} lines, and the program {not_should} change the file.",
            "Explain the code in {language}, step by step, so that {audience} understand it.",
        ),
    ),
    Family(
        asked=(
            "Where is my order {order}?",
            "Can I return the {product} that I bought on {day}?",
            "How long does delivery to {city} take?",
            "Do you ship the {product} to {country}?",
            "My {product} arrived {fault}, can I get a {remedy}?",
            "I paid {big} dollars for a {product} on {day}, why was I charged {not_before} delivery?",
            "How do I change the address of my order {order} to {city}?",
        ),
        before=(
            "I ordered a {product} in {month} and it arrived {fault}.",
            "My order number is {order} and I live in {city}.",
            "I have been a customer since {year}, and last {day} I bought a {product} as a present for a {job}.",
        ),
        after=(
            "I would like a {remedy}.",
            "I {not_can} be reached by phone on {day}.",
            "The box was opened {not_before} it came here, and the seller in {country} told me to wait {number} days.",
        ),
    ),
    Family(
        asked=(
            "Give me a recipe for {food}.",
            "How do I make {food} {not_with} eggs?",
            "Plan a trip of {few} days to {city}.",
            "What should I see in {city} in {month}?",
            "Is {food} healthy for {animal}?",
            "Recommend a hotel in {city} for {number} people.",
            "Compare the weather in {city} and {city} in {month}.",
        ),
        before=(
            "We are {number} friends from {country}, and one of us is a {job}.",
            "My budget is {big} euros and I have {number} days off in {month}.",
        ),
        after=(
            "{not_include} the prices.",
            "We {not_can} eat meat, but we like {food}.",
            "Make a table {not_with} a column for the time, and start on {day}.",
            "It should be ready in {number} minutes, because {audience} are coming on {day}.",
        ),
    ),
)

EN_SYNONYMS = (
    "write/compose, short/brief, explain/describe, give/provide, list/name, calculate/compute, create/make, "
    "recommend/suggest, buy/purchase, bought/purchased, arrived/came, fix/repair, meeting/appointment, words/terms, "
    "easy/simple, simple/plain, show/display, need/require, result/answer, text/passage, article/piece, trip/journey, "
    "important/essential, difference/distinction, small/little, tone/style, sentences/phrases, called/named, "
    "dollars/bucks, present/gift, examples/instances, idea/concept, overview/outline, start/begin, help/assist, "
    "ideas/suggestions, story/tale, convert/change, program/script, following/next, talk/speak, mention/name"
)
ZH_WORDS = {
    "word": words("猫, 狗, 房子, 河流, 面包, 窗户, 朋友, 冬天, 学校, 高山, 花园, 桥, 蜡烛, 鞋子, 原谅, 借钱, 冰淇淋"),
    "language": words("法语, 德语, 西班牙语, 意大利语, 日语, 韩语, 俄语, 阿拉伯语, 英语, 泰语"),
    "city": words("北京, 上海, 广州, 成都, 杭州, 巴黎, 罗马, 东京, 西安, 纽约, 哈尔滨, 武汉"),
    "country": words("法国, 意大利, 德国, 日本, 埃及, 巴西, 加拿大, 印度, 泰国, 西班牙"),
    "person": words("李白, 杜甫, 牛顿, 爱因斯坦, 居里夫人, 秦始皇, 拿破仑, 莫扎特, 苏轼"),
    "animal": words("猫, 狗, 鲸鱼, 马, 企鹅, 蜜蜂, 大象, 猫头鹰, 海豚, 熊猫"),
    "food": words("红烧肉, 番茄炒蛋, 蛋炒饭, 酸辣汤, 苹果派, 饺子, 牛肉面, 香蕉蛋糕"),
    "product": words("手机壳, 水壶, 外套, 台灯, 运动鞋, 路由器, 键盘, 背包, 手表, 耳机"),
    "topic": words("秋天, 友谊, 气候变化, 太空旅行, 远程办公, 大海, 在线教育, 新能源, 睡眠, 人工智能, 春节"),
    "idea": words("光合作用, 万有引力, 通货膨胀, 递归, 黑洞, 供求关系, 机器学习, 进化论, 区块链, 潮汐, 疫苗"),
    "form": words("诗, 短篇故事, 信, 演讲稿, 歌词, 博客, 产品介绍, 对话, 笑话, 邮件"),
    "tone": words("友好, 正式, 幽默, 严肃, 轻松, 客观, 热情, 温柔"),
    "audience": words("小学生, 初学者, 大学生, 经理, 工程师, 老师, 游客, 医生"),
    "job": words("护士, 教师, 律师, 农民, 设计师, 学生, 会计, 司机, 厨师"),
    "code": words("Python, Java, Rust, Go, C++, C, JavaScript, SQL"),
    "task": words("排序数组, 反转字符串, 查找质数, 统计词频, 合并列表, 删除重复行, 判断回文, 解析日期"),
    "day": words("周一, 周二, 周三, 周四, 周五, 周六, 周日"),
    "month": words("一月, 二月, 三月, 四月, 五月, 六月, 七月, 八月, 九月, 十月"),
    "fault": words("坏了, 迟到了, 少了充电器, 尺码错了, 颜色发错了, 有划痕, 被拆过"),
    "remedy": words("退款, 换货, 优惠券, 发票, 维修, 补发"),
    "extreme": words("最大, 最小, 最古老, 最高, 最贵, 最便宜, 最快"),
    "unit": words("米, 英尺, 公斤, 磅, 升, 加仑, 英里, 公里"),
    "math": words("加, 减, 乘以, 除以"),
    "part": words("开头, 结尾, 标题, 摘要, 表格, 参考文献"),
    "not_use": ("要", "不要"),
    "not_with": ("有", "没有"),
    "not_can": ("能", "不能"),
    "not_should": ("应该", "不应该"),
    "not_before": ("之前", "之后"),
}

ZH_FAMILIES = (
    Family(
        asked=(
            "把{word}翻译成{language}。",
            "把“{word}”这个词从{language}翻译成{language}。",
            "{word}用{language}怎么说？",
            "用{language}写三个{not_with}{word}的句子。",
            "把下面的话翻译成{language}：我{day}到{city}，你{not_use}来接我。",
        ),
        before=(
            "我{month}要去{country}旅行，正在学{language}。",
            "我的邻居是从{city}来的{job}，只会说{language}。",
        ),
        after=(
            "语气要{tone}一些。",
            "{not_use}加上读音。",
            "给出{few}个例句。",
            "这是给学了{number}个月的{audience}看的。",
        ),
    ),
    Family(
        asked=(
            "写一首关于{topic}的诗。",
            "写一篇关于{topic}的{form}。",
            "以{animal}为主题写一段{tone}的{form}。",
            "为{audience}写一篇介绍{topic}的{form}。",
            "给我{number}个关于{topic}的写作点子。",
            "给我的{form}起一个关于{animal}的题目。",
            "给{job}写一封关于{day}开会的邮件。",
        ),
        before=(
            "我在{city}的一家小公司做{job}。",
            "学校{day}要为{audience}办一个活动。",
            "我{month}要在{number}个人面前讲话。",
        ),
        after=(
            "字数控制在{big}字以内。",
            "语言要{tone}，适合{audience}阅读。",
            "{not_use}押韵。",
            "文中{not_should}提到{person}。",
            "最后{not_use}写{part}。",
        ),
    ),
    Family(
        asked=(
            "什么是{idea}？",
            "解释{idea}的原理。",
            "向{audience}解释什么是{idea}。",
            "{idea}和{idea}有什么区别？",
            "介绍{country}从{year}年以来{topic}的发展。",
            "{idea}对{audience}来说为什么重要？",
        ),
        before=(
            "我{day}要考试，现在只看了{number}页书。",
            "昨天看{animal}的时候，女儿问了我这个问题。",
            "我在{city}教{number}个{audience}。",
        ),
        after=(
            "最多用{few}句话。",
            "举一个{country}的例子。",
            "{not_use}和{idea}作比较。",
            "用{tone}的语气，让{audience}也能看懂。",
        ),
    ),
    Family(
        asked=(
            "{number}{operator}{number}等于多少？",
            "计算{number}{math}{number}的结果。",
            "解方程{number}x{operator}{number}={big}。",
            "{number}{unit}等于多少{unit}？",
            "{big}的{number}%是多少？",
            "火车以每小时{number}公里的速度从{city}出发，走{big}公里需要多长时间？",
            "商店里{number}个苹果卖{big}元，买{number}个要多少钱？",
        ),
        before=(
            "这是一道给{audience}的题。",
            "农民有{number}头牛和{number}只羊，{month}卖掉了{number}只。",
        ),
        after=(
            "写出计算过程。",
            "结果保留{few}位小数。",
            "答案里{not_use}带单位。",
            "再把结果{math}{number}。",
        ),
    ),
    Family(
        asked=(
            "总结这篇关于{topic}的文章。",
            "用{few}句话概括{person}的一生。",
            "列出{number}个关于{animal}的知识。",
            "{country}{extreme}的城市是哪个？",
            "{person}是谁？他有什么成就？",
            "{year}年{country}发生了什么大事？",
            "总结下面的内容：{city}{month}的销量增长了{number}%，成本减少了{big}元。",
        ),
        before=(
            "我在给{audience}准备一次知识竞赛。",
            "{day}的报纸上有一篇{city}{job}写的文章。",
        ),
        after=(
            "分点列出。",
            "{not_use}写出时间和人名。",
            "用{language}回答。",
            "重点写{year}年{not_before}的事，不超过{big}字。",
        ),
    ),
    Family(
        asked=(
            "用{code}写一个{task}的函数。",
            "怎么用{code}{task}？",
            "帮我改一下这段{task}的{code}代码。",
            "把这段代码从{code}改成{code}。",
            "{code}和{code}的区别是什么？",
        ),
        before=(
            "我是{job}，{year}年开始学{code}。",
            "我们在{city}的服务器有{number}个核。",
        ),
        after=(
            "{not_use}写注释。",
            "{not_use}用递归。",
            "输入最多有{big}行，程序{not_should}修改原文件。",
            "用{language}一步一步地讲解，让{audience}也能明白。",
        ),
    ),
    Family(
        asked=(
            "我的订单{order}到哪里了？",
            "{day}买的{product}可以退货吗？",
            "寄到{city}要多久？",
            "{product}可以发货到{country}吗？",
            "收到的{product}{fault}，可以{remedy}吗？",
            "我{day}花{big}元买了{product}，为什么发货{not_before}就扣款？",
            "怎么把订单{order}的地址改成{city}？",
        ),
        before=(
            "我{month}在你们店买了一个{product}，收到的时候{fault}。",
            "我的订单号是{order}，住在{city}。",
            "我从{year}年就是你们的客户，这是买给一个{job}的礼物。",
        ),
        after=(
            "我想要{remedy}。",
            "我{day}{not_can}接电话。",
            "{country}的卖家让我再等{number}天，包裹到{not_before}就被拆开了。",
        ),
    ),
    Family(
        asked=(
            "{food}怎么做？",
            "告诉我{not_with}鸡蛋的{food}的做法。",
            "安排一个{few}天的{city}旅游计划。",
            "{month}去{city}有什么好玩的？",
            "{animal}可以吃{food}吗？",
            "推荐一家{city}适合{number}个人住的酒店。",
            "比较{city}和{city}{month}的天气。",
        ),
        before=(
            "我们是{number}个从{country}来的朋友，其中一个是{job}。",
            "我的预算是{big}元，{month}有{number}天假期。",
        ),
        after=(
            "{not_use}写价格。",
            "我们{not_can}吃辣，但是喜欢{food}。",
            "做成表格，从{day}开始。",
            "最好{number}分钟做好，因为{audience}{day}要来。",
        ),
    ),
)

ZH_SYNONYMS = (
    "写/撰写, 解释/说明, 总结/概括, 概括/归纳, 介绍/讲讲, 怎么/如何, 计算/算出, 给出/提供, 给我/帮我想, 告诉我/跟我说, "
    "买/购买, 区别/不同, 什么是/何为, 多少/几, 推荐/介绍, 安排/制定, 计划/方案, 原理/道理, 题目/标题, 重要/关键, "
    "结果/答案, 可以/能否, 多久/多长时间, 收到/拿到, 文章/短文, 知识/常识, 代码/程序, 改成/换成, 语气/口吻, 例子/实例, "
    "关于/有关, 适合/适于, 正在/在, 喜欢/爱, 想要/希望, 女儿/孩子, 客户/顾客, 最多/至多, 内容/文字, 回答/作答, "
    "好玩/有意思, 做法/步骤"
)
ZH_HOMOPHONES = (
    "的/地, 做/作, 像/象, 在/再, 得/的, 哪/那, 需/须, 份/分, 是/事, 个/各, 里/理, 想/像, 成/城, 句/具, 文/闻, 式/试, "
    "写/些, 和/合, 题/提, 语/雨, 解/结, 用/由, 点/店, 篇/偏, 段/断, 章/张, 为/位, 到/道, 法/发, 址/纸"
)


def swapped(pairs: str, around: str = "") -> Edit:
    """Words exchanged for others of about the same meaning, or that sound alike, in both directions."""
    others: dict[str, list[str]] = defaultdict(list)
    for pair in words(pairs):
        one, two = pair.split("/")
        others[one].append(two)
        others[two].append(one)
    longest = sorted(others, key=len, reverse=True)
    pattern = re.compile(f"{around}(?:{'|'.join(map(re.escape, longest))}){around}", re.IGNORECASE)

    def other(match: re.Match[str], chance: Chance) -> str:
        found = chance.choice(others[match[0].lower()])
        return found.capitalize() if match[0][0].isupper() else found

    return Edit("synonym", pattern, other)


def mistyped(match: re.Match[str], chance: Chance) -> str:
    """A word with two letters the wrong way round, or one missing, doubled or exchanged."""
    word = match[0]
    at = chance.randrange(1, len(word) - 1)
    middle = {
        "swapped": word[at + 1] + word[at],
        "missing": word[at + 1],
        "doubled": word[at] * 2 + word[at + 1],
        "other": chance.choice(string.ascii_lowercase) + word[at + 1],
    }
    return word[:at] + chance.choice(list(middle.values())) + word[at + 2 :]


def slipped(match: re.Match[str], chance: Chance) -> str:
    """Two characters the wrong way round, or one missing or doubled."""
    one, two = match[0][:1], match[0][1:]
    return chance.choice((two + one, two, one + one + two))


def one_of(*texts: str) -> Callable[[re.Match[str], Chance], str]:
    """Any of some texts, for whatever was found."""
    return lambda match, chance: chance.choice(texts)


def wide(match: re.Match[str], chance: Chance) -> str:
    """A visible ASCII character in its full width, or the other way round."""
    code = ord(match[0])
    return chr(code + 0xFEE0 if code < 0x7F else code - 0xFEE0)


EN_ADDED = ("just ", "really ", "also ", "the ", "a ", "maybe ", "please ")
EN_EDITS = (
    Edit("typo", re.compile(r"\b(?!without|never|cannot)[a-zA-Z]{4,}\b"), mistyped),
    swapped(EN_SYNONYMS, r"\b"),
    Edit("particle", re.compile(r"(?<= )(?:please|the|a|an|me|that|to|of|so|also) ", re.IGNORECASE), one_of("")),
    Edit("particle", re.compile(r"(?<=[a-z] )(?=[a-z]{3})"), one_of(*EN_ADDED)),
    Edit("punctuation", re.compile(r"[.?]"), one_of("", "!", "..", " ?")),
    Edit("punctuation", re.compile(r"(?<=[a-z]{3}) (?=(?:and|that|for|in|with|so) )"), one_of(", ", " - ")),
    Edit("case", re.compile(r"\b[A-Za-z][a-z]+"), lambda match, chance: match[0].swapcase()),
)
ZH_EDITS = (
    swapped(ZH_HOMOPHONES),
    Edit("typo", re.compile(rf"(?![不没无别未])[{IDEOGRAPH}](?![不没无别未])[{IDEOGRAPH}]"), slipped),
    swapped(ZH_SYNONYMS),
    Edit("particle", re.compile(r"请|帮我|一下|的|了|这个|一个|就|也|要"), one_of("")),
    Edit("particle", re.compile(r"(?<=解释|介绍|总结|概括|计算|推荐|比较|安排|翻译)"), one_of("一下")),
    Edit("particle", re.compile(r"(?=[。？]$)"), one_of("吧", "呢", "啊", "哦", "呀")),
    Edit("particle", re.compile(r"^(?!请|麻烦|帮|你好|您好)"), one_of("请", "麻烦", "嗯，", "那个，", "你好，")),
    Edit("punctuation", re.compile(r"[。？，]"), one_of("", "！", "。。", " ", "、")),
    Edit("width", re.compile(r"[，？：]|[!-~]"), wide),
)

EN = Language(
    name="English",
    space=" ",
    vocabulary=EN_WORDS | NUMBERS,
    families=EN_FAMILIES,
    commanding=("", "", "Please ", "Please ", "Could you ", "Can you please ", "I want you to "),
    greeting=("", "", "", "Hi, ", "Hello, ", "Quick question: "),
    edits=EN_EDITS,
    moves=(
        (r"\bPlease (?=\w)", "", ", please"),
        (r"\b(?:Hi|Hello), ", "", " Thanks"),
        (r"\bCan you please ", "", ", can you"),
        (r"\bCould you ", "Please ", ", could you"),
    ),
)
ZH = Language(
    name="Chinese",
    space="",
    vocabulary=ZH_WORDS | NUMBERS,
    families=ZH_FAMILIES,
    commanding=("", "", "请", "请", "请帮我", "帮我", "麻烦你"),
    greeting=("", "", "", "你好，", "请问", "您好，"),
    edits=ZH_EDITS,
    moves=(
        ("请(?!问)", "", "，谢谢"),
        ("你好，|您好，", "", "，谢谢"),
        ("麻烦你|帮我", "", "，麻烦了"),
        ("请问", "", "，请问"),
    ),
)
LANGUAGES = (EN, ZH)


def token_count(text: str) -> int:
    """How many tokens a text has."""
    return len(TOKEN.findall(text))


def written(request: list[Piece]) -> str:
    """A request as a text."""
    return "".join(piece.text for piece in request)


def made(language: Language, chance: Chance) -> list[Piece]:
    """A request, with as much said before and after it as comes by chance."""
    family = chance.choice(language.families)
    asked = chance.choice(family.asked)
    opening = chance.choice(language.greeting if asked[-1] in "?？" else language.commanding)
    if opening and not opening.endswith(": ") and not asked.startswith("I "):
        asked = asked[0].lower() + asked[1:]
    before = chance.sample(family.before, chance.choice((0, 0, 1, 2)))
    after = chance.sample(family.after, chance.choice((0, 0, 1, 2, 3)))
    used: set[str] = set()
    asides = filled("".join(one + language.space for one in before), language, used, chance, aside=True)
    return asides + filled(language.space.join([opening + asked, *after]), language, used, chance)


def filled(template: str, language: Language, used: set[str], chance: Chance, *, aside: bool = False) -> list[Piece]:
    """A template with its slots filled, no value twice."""
    pieces = []
    for wording, kind, _, _ in string.Formatter().parse(template):
        pieces.append(Piece(wording))
        if kind is not None:
            pieces.append(Piece(another(language, kind, used, chance), kind, aside))
            if not kind.startswith("not_"):
                used.add(pieces[-1].text)
    return pieces


def another(language: Language, kind: str, used: set[str], chance: Chance) -> str:
    """A value of a kind that is not used yet."""
    return chance.choice([value for value in language.vocabulary[kind] if value not in used])


def made_up(language: Language, bounds: tuple[int, int], chance: Chance) -> Iterator[list[Piece]]:
    """Requests of a length, without end."""
    while True:
        request = made(language, chance)
        if bounds[0] <= token_count(written(request)) < bounds[1]:
            yield request


def read(path: Path, language: Language, chance: Chance) -> list[list[Piece]]:
    """The lines of a file that are in the language and have words or numbers that may be exchanged for others."""
    kinds = {value: kind for kind, values in language.vocabulary.items() for value in values if len(value) > 1}
    longest = sorted(kinds, key=len, reverse=True)
    around = r"\b" if language is EN else ""
    pattern = re.compile(rf"(\b\d+\b|{around}(?:{'|'.join(map(re.escape, longest))}){around})")
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        parts = pattern.split(line.strip())
        if len(parts) > 1 and bool(re.search(f"[{IDEOGRAPH}]", line)) == (language is ZH):
            found.append([Piece(part, kinds.get(part, "number") if i % 2 else "") for i, part in enumerate(parts)])
    chance.shuffle(found)
    return found


def edited(request: list[Piece], language: Language, chance: Chance) -> str:
    """The same request, worded or typed a little differently."""
    edits = max(1, round(chance.uniform(*EDITED) * token_count(written(request))))
    names = [*sorted({edit.name for edit in language.edits}), "politeness", "typo", "particle"]
    pieces = list(request)
    done = 0
    while done < edits or written(pieces) == written(request):
        name = chance.choice(names)
        if name == "politeness":
            done += polite_elsewhere(pieces, language, chance)
        else:
            done += edit_once(pieces, chance.choice([edit for edit in language.edits if edit.name == name]), chance)
    return written(pieces)


def edit_once(pieces: list[Piece], edit: Edit, chance: Chance) -> bool:
    """Edit the wording at one place, where there is one that fits."""
    places = [
        (at, match)
        for at, piece in enumerate(pieces)
        if not piece.kind
        for match in edit.pattern.finditer(piece.text)
        if at == 0 or edit.pattern.pattern[0] != "^"
    ]
    if not places:
        return False
    at, match = chance.choice(places)
    text = pieces[at].text
    pieces[at] = Piece(text[: match.start()] + edit.change(match, chance) + text[match.end() :])
    return True


def polite_elsewhere(pieces: list[Piece], language: Language, chance: Chance) -> bool:
    """Say at the end what was said first."""
    for pattern, instead, ending in chance.sample(language.moves, len(language.moves)):
        for at, piece in enumerate(pieces):
            match = None if piece.kind else re.search(pattern, piece.text)
            if match:
                rest = piece.text[match.end() :]
                rest = rest if instead else rest[:1].upper() + rest[1:]
                pieces[at] = Piece(piece.text[: match.start()] + instead + rest)
                last = pieces[-1]
                end = re.search(r"[.?!。？！]*$", last.text)
                if last.kind or end is None:
                    pieces.append(Piece(ending))
                else:
                    pieces[-1] = Piece(last.text[: end.start()] + ending + end[0])
                return True
    return False


def different(request: list[Piece], language: Language, chance: Chance) -> tuple[str, str]:
    """Another request in the same wording, and what is different."""
    pieces = list(request)
    for kind in ORDERED:
        pair = [at for at, piece in enumerate(request) if piece.kind == kind and not piece.aside]
        if len(pair) == 2 and chance.random() < 0.5:
            pieces[pair[0]], pieces[pair[1]] = request[pair[1]], request[pair[0]]
            return written(pieces), "two that change places"
    slots = [at for at, piece in enumerate(request) if piece.kind]
    chance.shuffle(slots)
    slots.insert(0, slots.pop(next(place for place, at in enumerate(slots) if not request[at].aside)))
    many = chance.choices(list(OTHERWISE), list(OTHERWISE.values()))[0]
    changed = slots[: {"one": 1, "two": 2, "all": len(slots)}[many]]
    for at in changed:
        kind = pieces[at].kind
        here = {piece.text for piece in pieces if piece.kind == kind}
        used = {pieces[at].text} if kind.startswith("not_") or kind == "operator" else here
        pieces[at] = Piece(another(language, kind, used, chance), kind, pieces[at].aside)
    if len(changed) > 1:
        return written(pieces), "two slots" if len(changed) == 2 else "three or more slots"
    kind = request[changed[0]].kind
    if kind.startswith("not_"):
        return written(pieces), "one negation"
    return written(pieces), "one number or operator" if kind in NUMBERS or kind == "math" else "one name or word"


@dataclass(frozen=True)
class Pairs:
    """Requests of a language, each with how it is asked again and a different one."""

    language: Language
    requests: list[str]
    edits: list[str]
    others: list[str]
    length: np.ndarray[Any, np.dtype[np.int64]]
    """Which length class each request is in."""
    difference: list[str]


def make_pairs(language: Language, count: int, seed: int, path: Path | None) -> Pairs:
    """So many pairs of each kind in each length class, fewer where a file has fewer."""
    chance = random.Random(f"{seed} {language.name}")
    real = read(path, language, chance) if path else []
    pairs = Pairs(language, [], [], [], np.zeros(0, np.int64), [])
    length: list[int] = []
    for at, bounds in enumerate(CLASSES):
        if path:
            source = iter([one for one in real if bounds[0] <= token_count(written(one)) < bounds[1]])
        else:
            source = made_up(language, bounds, chance)
        for request, _ in zip(source, range(count), strict=False):
            other, difference = different(request, language, chance)
            pairs.requests.append(written(request))
            pairs.edits.append(edited(request, language, chance))
            pairs.others.append(other)
            pairs.difference.append(difference)
            length.append(at)
    return Pairs(
        language, pairs.requests, pairs.edits, pairs.others, np.array(length, dtype=np.int64), pairs.difference
    )


def similarities(entries: Entries, count: int) -> tuple[Floats, Floats]:
    """The Jaccard similarity of each of `count` requests to its edited text, and to the different one."""
    addresses, sizes = entries.sets.addresses.tolist(), entries.sets.sizes.tolist()
    first, both = entries.first.tolist(), entries.both.tolist()

    def similarity(row: int, other: int) -> float:
        best = 0.0
        for one in range(first[row], first[row + 1]):
            for two in range(first[other], first[other + 1]):
                if not (both[one] and both[two]):
                    shared = common(addresses[one], sizes[one], addresses[two], sizes[two], 0)
                    best = max(best, shared / (sizes[one] + sizes[two] - shared))
        return best

    alike = np.array([similarity(row, row + count) for row in range(count)], dtype=np.float64)
    unlike = np.array([similarity(row, row + 2 * count) for row in range(count)], dtype=np.float64)
    return alike, unlike


@dataclass(frozen=True)
class Measured:
    """What schemes make of the pairs of a language."""

    pairs: Pairs
    schemes: dict[str, tuple[Floats, Floats]]
    default: tuple[Floats, Floats]

    def rates(self, which: tuple[Floats, Floats], threshold: float, chosen: Any) -> tuple[float, float]:
        """Recall of light edits, and how many different requests are merged, among the chosen pairs."""
        # Similarities are quotients of small integers: 4/5 is at the threshold 0.8 however either is rounded.
        alike, unlike = (values[chosen] >= threshold - 1e-9 for values in which)
        return float(alike.mean()), float(unlike.mean())

    def best(self, most: float, chosen: Any) -> str:
        """Which scheme and threshold find most where at most so many different requests are merged."""
        found = [
            (*self.rates(which, threshold, chosen), name, threshold)
            for name, which in self.schemes.items()
            for threshold in THRESHOLDS
        ]
        allowed = [one for one in found if one[1] <= most]
        if not allowed:
            return "none"
        recall, merged, name, threshold = max(allowed, key=lambda one: (one[0], -one[1]))
        return f"{name} {threshold:g} {rate((recall, merged))}"


def measure(pairs: Pairs) -> Measured:
    """Compare the pairs by all schemes and by the default."""
    texts = pl.Series(pairs.requests + pairs.edits + pairs.others, dtype=pl.String)
    count = len(pairs.requests)
    schemes = {str(scheme): similarities(scheme.entries(texts), count) for scheme in SCHEMES}
    return Measured(pairs, schemes, similarities(Comparison().entries(texts), count))


def rate(rates: tuple[float, float]) -> str:
    """Recall/false merges, in percent."""
    return f"{100 * rates[0]:.0f}/{100 * rates[1]:.0f}"


def lengths(measured: Measured) -> list[tuple[str, Any]]:
    """The length classes there are pairs in, and which pairs, and all of them."""
    length = measured.pairs.length
    found: list[tuple[str, Any]] = [
        (f"{low}-{high // 10 * 10}", length == at) for at, (low, high) in enumerate(CLASSES) if (length == at).any()
    ]
    return [*found, ("all", length >= 0)]


def show(measured: Measured) -> None:
    """Print the rates by length, scheme and threshold."""
    for name, chosen in lengths(measured):
        print(f"\n{measured.pairs.language.name}, {name} tokens, {chosen.sum():,} pairs: recall/false merges in %")
        print(f"{'':14}" + "".join(f"{threshold:>12g}" for threshold in THRESHOLDS))
        for scheme, which in measured.schemes.items():
            cells = [rate(measured.rates(which, threshold, chosen)) for threshold in THRESHOLDS]
            print(f"{scheme:14}" + "".join(f"{cell:>12}" for cell in cells))


def show_summary(all_measured: list[Measured]) -> None:
    """Print how the default does, and what does best."""
    threshold = Comparison().threshold
    usual = f"{FIVES} {threshold:g}"
    print("\nSummary: recall of light edits/false merges of different requests, in %")
    print(f"{'':16}{'default':>12}{usual:>16}")
    for measured in all_measured:
        for name, chosen in lengths(measured):
            default = rate(measured.rates(measured.default, threshold, chosen))
            fives = rate(measured.rates(measured.schemes[str(FIVES)], threshold, chosen))
            print(f"{measured.pairs.language.name:9}{name:7}{default:>12}{fives:>16}")
    print("\nMost light edits found, where at most so many different requests are merged")
    print(f"{'':14}" + "".join(f"{f'<= {most:.0%}':>22}" for most in LIMITS))
    for measured in all_measured:
        for name, chosen in lengths(measured):
            cells = "".join(f"{measured.best(most, chosen):>22}" for most in LIMITS)
            print(f"{measured.pairs.language.name:8}{name:6}{cells}")
    print(f"\nFalse merges by what is different, in %: default, {usual}")
    for measured in all_measured:
        difference = np.array(measured.pairs.difference)
        for kind in sorted(set(measured.pairs.difference)):
            which = (measured.default, measured.schemes[str(FIVES)])
            merged = [f"{100 * measured.rates(one, threshold, difference == kind)[1]:8.1f}" for one in which]
            print(f"{measured.pairs.language.name:10}{kind:24}{(difference == kind).sum():7,} pairs{''.join(merged)}")


def main() -> None:
    """Make pairs, compare them, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pairs", type=int, default=2000, help="of each kind, for each language and length")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--texts", type=Path, help="real requests instead of made-up ones, one a line")
    chosen = parser.parse_args()
    made = [make_pairs(language, chosen.pairs, chosen.seed, chosen.texts) for language in LANGUAGES]
    all_measured = [measure(pairs) for pairs in made if pairs.requests]
    for measured in all_measured:
        show(measured)
    show_summary(all_measured)


if __name__ == "__main__":
    main()
