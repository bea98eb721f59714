"""What instructions ask for: English and Chinese verbs, each with its level in Bloom's taxonomy.

The levels are those of Anderson & Krathwohl 2001 (A Taxonomy for Learning, Teaching, and Assessing), who say what
mental work each asks for: comparing, explaining and translating are ways to understand. The lists follow their
definitions and were written by hand. A word says little by itself: `write` may ask for a list or for a novel, so that
where what is to be written is named (`write a summary`, 写一份清单), that decides.
"""

from __future__ import annotations

import re

import polars as pl

LEVELS = {1: "remember", 2: "understand", 3: "apply", 4: "analyse", 5: "evaluate", 6: "create"}
"""Levels of the taxonomy."""

SIMPLE = (1,)
"""Levels that ask for nothing but what one knows: list, name, 列出."""

HARD = (2, 3, 4, 5, 6)
"""Levels that ask to work with it: explain, compare, 分析."""

EN = {
    1: "list name identify recall recite state define label quote enumerate spell count locate repeat recognise "
    "recognize find retrieve look tell specify cite memorize memorise mention",
    2: "explain describe summarise summarize paraphrase rephrase reword rewrite translate interpret classify "
    "categorise categorize compare contrast illustrate infer predict clarify discuss elaborate simplify match "
    "convert express answer read understand outline conclude generalise generalize group restate condense shorten "
    "expand transcribe discover extract",
    3: "calculate compute solve apply use implement execute demonstrate perform carry run operate show complete "
    "fill sort order arrange rearrange reorder format edit correct fix remove delete replace insert add "
    "multiply divide subtract round simulate practise practice act pretend play change modify adapt transform "
    "reverse combine unscramble process resolve",
    4: "analyse analyze differentiate distinguish organise organize examine investigate structure deconstruct "
    "parse diagnose detect separate break explore research select choose determine deduce relate debug "
    "tokenize tag",
    5: "evaluate assess judge critique criticise criticize rate rank review recommend justify argue defend "
    "verify check validate test decide prioritise prioritize estimate grade score appraise support prove "
    "refute suggest advise debate",
    6: "write create generate compose design develop invent construct build produce plan formulate propose make "
    "draft prepare brainstorm imagine devise author craft code program think come hypothesise hypothesize "
    "assemble model draw paint sketch improvise continue rap sing output",
}
"""English verbs by level, in the form in which they command."""

ZH = {
    1: "列出 陈述 鉴定 列举 举出 说出 指出 找出 找到 识别 辨认 背诵 复述 默写 定义 命名 枚举 查找 查询 检索 "
    "数一数 引用 标出 标注 标记 告诉 写出 回忆 搜索 给出定义 确定 罗列 点出",
    2: "解释 说明 描述 概括 总结 归纳 简述 阐述 阐明 叙述 介绍 翻译 译成 改写 改编 转述 重写 重述 重新表述 比较 "
    "对比 分类 归类 预测 推断 推测 理解 讲解 讲述 讨论 谈谈 论述 说说 解读 诠释 回答 答复 简化 缩写 扩写 扩展 "
    "举例 提取 抽取 转换 转化 匹配 分组 表达 详述 描写 刻画 摘要 提炼 概述 阅读 举 讨论一下 润色 精简 压缩 "
    "展开 翻成 转写 释义 译为",
    3: "计算 求解 解答 解决 应用 使用 运用 实现 执行 演示 展示 完成 填写 填空 填入 补全 补充 排序 排列 整理 修改 "
    "修正 纠正 更正 校对 编辑 替换 删除 去除 移除 添加 插入 合并 拼接 组合 模拟 扮演 化简 格式化 调整 求出 "
    "算出 算一算 连接 变换 更改 改变 翻转 操作 优化 重组 改成 改正 纠错",
    4: "分析 区分 辨别 剖析 研究 调查 探讨 探究 拆分 分解 组织 诊断 推导 选择 选出 挑选 筛选 梳理 检测 解析 判别 "
    "鉴别 识破 挖掘 切分",
    5: "评价 评估 评判 评论 批评 判断 检查 检验 验证 核对 审核 审查 论证 证明 反驳 推荐 建议 打分 评分 评级 排名 "
    "估计 估算 辩论 权衡 点评 辩护 提出建议 测试 决定",
    6: "写 撰写 编写 写作 创作 创建 创造 生成 设计 制定 制作 构思 构建 构造 编 编造 编制 起草 拟 拟定 草拟 开发 "
    "发明 策划 规划 计划 续写 提出 想 想出 想象 作 取 起 绘制 画 画出 谱写 填词 搭建 仿写 模仿 造句 讲 准备 "
    "组成 安排 提供 给出 写下 写成 建立 拟写 配 联想 虚构 产生",
}
"""Chinese verbs by level."""

SCENE = frozenset(
    word
    for line in (
        "use act pretend play imagine think look read tell understand",
        "想象 假设 使用 运用 阅读 扮演 模拟 应用 想 取 起 配 准备 讲 提供 作",
    )
    for word in line.split()
)
"""Verbs that set a scene or say how: they are what is asked for only where no other verb is."""

_EN_MAKE = (
    r"(?:give|provide|offer|make|write|create|generate|produce|compose|prepare|draft|come\s+up\s+with|do|conduct|perform"
    r"|compile|present|share|build|construct)"
)
_EN_MADE = {
    1: "list definition name names quote quotes synonym synonyms antonym antonyms fact facts",
    2: "summary overview description explanation example examples paraphrase translation comparison interpretation "
    "synopsis classification answer abstract clarification introduction instance outline prediction",
    3: "calculation demonstration correction",
    4: "analysis breakdown examination investigation",
    5: "evaluation assessment review critique recommendation recommendations suggestion suggestions opinion rating "
    "judgement judgment feedback advice tip tips justification argument arguments",
}
_ZH_MAKE = "(?:给出|提供|写出|写|撰写|编写|生成|创建|制作|列|做|作|准备|提出|进行|给)"
_ZH_MADE = {
    1: "清单 列表 定义 名单 名称 同义词 反义词 近义词 目录",
    2: "总结 摘要 概述 概要 解释 说明 描述 例子 示例 实例 翻译 介绍 简介 比较 对比 分类 回答 答案 概括",
    3: "计算 演示 修改",
    4: "分析 研究 调查 剖析",
    5: "评价 评估 评论 点评 建议 意见 推荐 反馈 审核 检查",
}

# Nouns and other words that a verb above is a part of, and verbs that are nouns where they stand.
_EN_NOUN = (
    r"(?:(?:a|an|the|this|that|these|those|my|your|his|her|its|our|their|following|given|each|every|of|in|some|any|no"
    r"|as|s|following|above|below|first|last|second|short|new|two|three)\s+)+[a-z]+"
)
_ZH_NOUN = (
    "计算机 计算器 写作 写字 写真 说明书 解释器 编程 编辑器 编辑部 编号 作文 作品 作者 作家 作为 作用 作业 工作 "
    "动作 合作 操作系统 操作员 制作人 想法 想要 思想 理想 梦想 设想 幻想 起来 引起 一起 起点 起源 起床 取得 获取 "
    "采取 取代 领取 争取 动画 画面 画家 图画 绘画 漫画 讲座 讲究 演讲 设计师 设计图 分析师 计划书 检查站 研究所 "
    "研究生 研究员 评论家 配合 配置 配料 分配 适配 匹配度 生成式 生成器 翻译器 翻译家 查询语句 搜索引擎 选择题 "
    "判断题 填空题 解答题 计算题 使用者 使用说明 应用程序 应用题 应用场景 排序算法 分类器 组织者 一篇介绍 准备好 "
    "写法 拟人 模拟器 虚拟 拟合 测试集 想知道 我想 总结性 编码 编译 改编自 建议书 画像 起到 配方 计划生育 提供商 "
    "提供者 决定性 确定性 不确定 描写手法 缩写词 引用量 完成时 举行 举办 举报 举止 举世 举起 选举 列举法 配件 "
    "配偶 配送 搭配 支配 装配 作出 书写 抒写 填写好 想一想"
)


def bloom_level(text: pl.Expr) -> pl.Expr:
    """Level, 1 to 6, of the first listed verb in an instruction's first sentence (Int64); null where there is none.

    What follows `please` or 请 is looked at first.
    """
    return text.map_batches(_levels, return_dtype=pl.Int64, is_elementwise=True)


def _levels(texts: pl.Series) -> pl.Series:
    # Step by step: as one expression the sentence would be looked for again wherever it is used.
    frame = texts.to_frame("text").select(sentence=first_sentence(pl.col("text")))
    asked = [pl.col("sentence").str.extract(f"(?s){please}(.*)") for please in (_PLEASE_EN, _PLEASE_ZH)]
    frame = frame.with_columns(asked=pl.coalesce(asked))
    return frame.select(pl.coalesce(_level(pl.col("asked")), _level(pl.col("sentence")))).to_series()


def first_sentence(text: pl.Expr) -> pl.Expr:
    """The first sentence of a text, without marks before it, of at most 300 characters; null where no letter is."""
    head = text.str.head(2_000).str.strip_chars_start()
    begun = head.str.replace(r"^[^\p{L}]+", "")
    sentence = begun.str.extract(r"(?s)^(.*?(?:[。！？!?]|\.(?:\s|$)|\n|$))", 1).str.strip_chars()
    return pl.when(sentence != "").then(sentence.str.head(300))


def _level(sentence: pl.Expr) -> pl.Expr:
    lower = sentence.str.to_lowercase()
    levels = []
    # A pattern for each language: polars' engine takes far longer for both in one.
    for found in (lower.str.extract_all(_PATTERN_ZH), lower.str.extract_all(_PATTERN_EN)):
        made = _looked_up(pl.element().str.extract(_MADE), _LEVEL_OF_MADE)
        for verbs in (_LEVEL_OF, _LEVEL_OF_SCENE):
            level = pl.coalesce(_looked_up(pl.element(), verbs), made)
            levels.append(found.list.eval(level.drop_nulls()).list.first())
    return pl.coalesce(levels)


def _looked_up(word: pl.Expr, levels: dict[str, int]) -> pl.Expr:
    return word.replace_strict(levels, default=None, return_dtype=pl.Int64)


def _table(lists: dict[int, str]) -> dict[str, int]:
    return {word: level for level, words in lists.items() for word in words.split()}


def _words(lists: dict[int, str]) -> str:
    return "|".join(sorted(map(re.escape, _table(lists)), key=len, reverse=True))


VERBS_ZH = _table(ZH)
"""Level of each Chinese verb."""

_LEVEL_OF_SCENE = _table(EN) | VERBS_ZH
_LEVEL_OF = {verb: level for verb, level in _LEVEL_OF_SCENE.items() if verb not in SCENE}
_LEVEL_OF_MADE = _table(_EN_MADE) | _table(_ZH_MADE)
_EN_BETWEEN = (
    r"\s+(?:(?:me|us|a|an|the|some|your|brief|short|\d+|one|two|three|four|five|ten|detailed|good|of)\s+){0,4}"
    r"(?:[a-z-]+\s+)?"
)
VERB_ZH = "|".join((*sorted(_ZH_NOUN.split(), key=len, reverse=True), f"[的篇段份项条](?:{_words(ZH)})", _words(ZH)))
"""A Chinese verb, or what holds one that is a noun there: a longer word, 的 or what counts nouns before it."""

_ZH_MADE_HERE = (
    f"{_ZH_MAKE}[一二三四五六七八九十两几0-9个份篇段条些种张出下简短要详细的]*"
    rf"(?:{_words(_ZH_MADE)})(?:[，。！？,.:：]|$)"
)
_MADE = rf"^(?:{_EN_MAKE}(?-u:\b)|{_ZH_MAKE}).*?({_words(_EN_MADE)}|{_words(_ZH_MADE)})[，。！？,.:：]?$"
_PLEASE_EN = r"(?i:(?-u:\b)please(?-u:\b))"
_PLEASE_ZH = "(?:请(?:问|教)?|帮我|帮忙|麻烦)"
_EDGE = r"(?-u:\b)"  # of ASCII: those of Unicode take polars' engine longer, and none is beside 请
_PATTERN_EN = f"{_EDGE}(?:{_EN_MAKE}{_EN_BETWEEN}(?:{_words(_EN_MADE)})|{_EN_NOUN}|{_words(EN)}){_EDGE}"
_PATTERN_ZH = f"{_ZH_MADE_HERE}|{VERB_ZH}"
