"""The HTML page of a training run: curves, rows with their mask, what was trained on, how."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from markupsafe import Markup

from schemas.excerpt import excerpt, printable
from schemas.report import (
    Column,
    Section,
    Tile,
    Words,
    bars,
    columns,
    listing,
    note,
    number,
    page,
    table,
    tiles,
)

_WIDTH, _HEIGHT = 1000.0, 100.0


def run_page(report: Mapping[str, Any]) -> str:
    """The page of a run, from its report."""
    rows, loss, looked = report["rows"], report.get("loss") or {}, report.get("eval") or {}
    chinese = _mostly_chinese(report)
    shown = [
        Tile(
            Words("loss, last step", "末步损失"),
            _loss(loss.get("last")),
            Words(f"first {_loss(loss.get('first'))}", f"首步 {_loss(loss.get('first'))}"),
        ),
        Tile(
            Words("loss on validation", "验证损失"),
            _loss(looked.get("best")),
            Words(f"best; last {_loss(looked.get('last'))}", f"最佳；末次 {_loss(looked.get('last'))}")
            if looked
            else "",
        ),
        Tile(Words("steps", "步数"), number(report["steps"]), Words(*_stopped(report))),
        Tile(Words("rows", "行数"), number(rows["train"]), Words(*_held(rows["validation"]))),
        Tile(Words("memory, at most", "峰值内存"), f"{report['memory_gb']:.2f} GB", _planned(report.get("planned"))),
        Tile(Words("time", "用时"), _time(report["seconds"]), _speed(report.get("tokens_per_second"))),
    ]
    if accuracy := looked.get("accuracy"):
        shown.insert(
            2,
            Tile(
                Words("held-out pairs in order", "验证对排序正确"),
                f"{accuracy['best']:.0%}",
                Words(f"best step; last {accuracy['last']:.0%}", f"最佳步；末次 {accuracy['last']:.0%}"),
            ),
        )
    sections = [
        Section(Words("Result", "结果"), blocks=[tiles(shown)]),
        Section(Words("Curves", "曲线"), blocks=_curves(report["log"])),
        Section(
            Words("What is learnt", "学习的内容"),
            Words(
                "The first rows as the model reads them. Only what is marked counts in the loss.",
                "模型读到的前几行。只有高亮部分计入损失。",
            )
            if "pairs" not in report
            else Words(
                "The first pairs as the model reads them: the prompt, the chosen answer, and behind ↔ the rejected "
                "one, struck through.",
                "模型读到的前几对：提示、被选中的回答，↔ 之后是被拒绝的回答（带删除线）。",
            ),
            [mask(example) for example in report["examples"]],
        ),
        *_pairs(report),
        Section(Words("Data", "数据"), blocks=_data(report)),
        Section(Words("Warnings", "警告"), blocks=[_list(report["warnings"])] if report["warnings"] else []),
        Section(Words("Settings", "设置"), blocks=[listing(_yaml(report["recipe"]))]),
    ]
    facts = [
        str(report["base"]["name"]),
        report["adapter"],
        report["device"],
        Words(f"template {report['template']['name']}", f"模板 {report['template']['name']}"),
    ]
    title = excerpt(str(report["out"]), 120)
    subject = Words(f"train {report['method']}", f"train {report['method']}")
    return page(title, subject, sections, facts=facts, lang="zh" if chinese else "en", foot=_FOOT)


def mask(example: Sequence[Mapping[str, Any]]) -> Markup:
    """A row with what the loss counts marked. The pieces have passed `excerpt`."""
    drawn = Markup("").join(
        Markup("<mark title='{}'>{}</mark>").format(f"× {one['weight']:g}", printable(str(one["text"])))
        if one["weight"] > 0
        else Markup("<s title='{}'>{}</s>").format(f"× {one['weight']:g}", printable(str(one["text"])))
        if one["weight"]
        else Markup("<span class='faint'>{}</span>").format(printable(str(one["text"])))
        for one in example
    )
    return Markup("<div class='pair' style='grid-template-columns:1fr'><p><bdi dir='auto'>{}</bdi></p></div>").format(
        drawn
    )


def _curves(log: Sequence[Mapping[str, Any]]) -> list[Markup]:
    trained = [(one["step"], float(one["loss"])) for one in log if "loss" in one]
    looked = [(one["step"], float(one["eval_loss"])) for one in log if "eval_loss" in one]
    rates = [(one["step"], float(one["learning_rate"])) for one in log if "learning_rate" in one]
    norms = [(one["step"], float(one["grad_norm"])) for one in log if "grad_norm" in one]
    return [
        one
        for one in (
            chart(Words("Loss", "损失"), [("accent", trained), ("c2", looked)]),
            note(Words("The line with dots is validation.", "带圆点的线为验证集。")) if looked else Markup(""),
            *(_rewards(log) if any("rewards/margins" in one for one in log) else ()),
            columns(
                [
                    chart(Words("Learning rate", "学习率"), [("accent", rates)]),
                    chart(Words("Length of the gradient", "梯度范数"), [("accent", norms)]),
                ]
            ),
        )
        if one
    ]


def _rewards(log: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """How the order of pairs, and the rewards of their answers, went on."""

    def points(name: str) -> list[tuple[int, float]]:
        return [(one["step"], float(one[name])) for one in log if name in one]

    return [
        columns(
            [
                chart(
                    Words("Share of pairs in order", "排序正确的比例"),
                    [("accent", points("rewards/accuracies")), ("c2", points("eval_rewards/accuracies"))],
                ),
                chart(
                    Words("Margin of rewards", "奖励差"),
                    [("accent", points("rewards/margins")), ("c2", points("eval_rewards/margins"))],
                ),
            ]
        ),
        columns(
            [
                chart(Words("Reward of chosen answers", "被选回答的奖励"), [("accent", points("rewards/chosen"))]),
                chart(Words("Reward of rejected answers", "被拒回答的奖励"), [("accent", points("rewards/rejected"))]),
            ]
        ),
    ]


def _pairs(report: Mapping[str, Any]) -> list[Section]:
    """What the lengths of answers tell, of preferences."""
    pairs = report.get("pairs")
    if not pairs:
        return []
    gap = pairs["gap_tokens"]
    shown = [
        Tile(
            Words("chosen answers", "被选回答"), f"{pairs['chosen_tokens']:g}", Words("tokens on average", "平均词元数")
        ),
        Tile(
            Words("rejected answers", "被拒回答"),
            f"{pairs['rejected_tokens']:g}",
            Words("tokens on average", "平均词元数"),
        ),
        Tile(
            Words("chosen is longer", "被选更长"),
            "–" if pairs["longer_chosen"] is None else f"{pairs['longer_chosen']:.0%}",
            Words(f"of {pairs['unequal']:,} pairs of unequal length", f"共 {pairs['unequal']:,} 对长度不等"),
        ),
        Tile(
            Words("gap", "长度差"),
            f"{gap['mean']:+g}",
            Words(f"90 % from {gap['p5']:+,} to {gap['p95']:+,}", f"90 % 在 {gap['p5']:+,} 至 {gap['p95']:+,}"),
        ),
        Tile(
            Words("same beginning", "相同开头"),
            f"{pairs['shared_start']:.0%}",
            Words("of the shorter answer; nothing is learnt from it", "占较短回答的比例；不会从中学到任何东西"),
        ),
        Tile(
            Words("labels that are not certain", "不确定的标签"),
            number(pairs["soft_labels"]),
            Words(f"{pairs['weighted']:,} pairs have a weight", f"{pairs['weighted']:,} 对带权重"),
        ),
    ]
    return [Section(Words("What lengths tell", "长度说明了什么"), blocks=[tiles(shown)])]


def chart(caption: Words, lines: Sequence[tuple[str, Sequence[tuple[int, float]]]]) -> Markup:
    """Curves over steps on one pair of axes: a colour and its points. Nothing where no line has two points."""
    finite = [(colour, [one for one in points if math.isfinite(one[1])]) for colour, points in lines]
    values = [value for _, points in finite for _, value in points]
    steps = [step for _, points in finite for step, _ in points]
    if len(set(steps)) < 2:
        return Markup("")
    low, high, first, last = min(values), max(values), min(steps), max(steps)
    span = (high - low) or 1.0

    def at(step: int, value: float) -> str:
        x = _WIDTH * (step - first) / (last - first)
        return f"{x:.1f},{_HEIGHT - (_HEIGHT - 4) * (value - low) / span - 2:.1f}"

    drawn = []
    for place, (colour, points) in enumerate(finite):
        line = " ".join(at(*one) for one in points)
        drawn.append(
            Markup(
                "<polyline points='{}' fill='none' style='stroke:var(--{})' stroke-width='2' "
                "vector-effect='non-scaling-stroke'/>"
            ).format(line, colour)
        )
        if place:
            dots = [at(*one) for one in points]
            drawn += [
                Markup(
                    "<rect class='fill-{}' x='{:.1f}' y='{:.1f}' width='5' height='5'><title>{}</title></rect>"
                ).format(colour, float(dot.split(",")[0]) - 2.5, float(dot.split(",")[1]) - 2.5, f"{step}: {value:.4f}")
                for dot, (step, value) in zip(dots, points, strict=True)
            ]
    scale = Markup("<div class='ticks'><span style='left:0%'>{}</span><span style='left:100%'>{}</span></div>").format(
        number(first), number(last)
    )
    return Markup(
        "<figure class='lengths'><figcaption>{} <small>{} – {}</small></figcaption><div class='plot'>"
        "<svg viewBox='0 0 1000 100' preserveAspectRatio='none' role='img' style='height:11rem'><title>{}</title>"
        "<line class='base-line' x1='0' x2='1000' y1='100' y2='100'/>{}</svg></div>{}</figure>"
    ).format(_words(caption), _short(low), _short(high), caption.en, Markup("").join(drawn), scale)


def _words(text: Words) -> Markup:
    return Markup("<span class='en' lang='en'>{}</span><span class='zh' lang='zh-Hans'>{}</span>").format(
        text.en, text.zh
    )


def _data(report: Mapping[str, Any]) -> list[Markup]:
    datasets = table(
        [
            Column(Words("dataset", "数据集")),
            Column(Words("rows", "行数"), number=True),
            Column(Words("fingerprint", "指纹")),
        ],
        [(excerpt(one["path"], 120), number(one["rows"]), one["fingerprint"][:16]) for one in report["data"]],
    )
    sources = table(
        [
            Column(Words("source", "来源")),
            Column(Words("rows", "行数"), number=True),
            Column(Words("licence", "许可")),
            Column(Words("training", "可否训练")),
            Column(Words("personal data", "个人信息")),
        ],
        [
            (
                excerpt(one["name"], 80),
                number(one["rows"]),
                excerpt(one.get("licence") or "–", 60),
                one["training"],
                one["personal_data"],
            )
            for one in report["sources"]
        ],
    )
    blocks = [datasets, sources]
    if report["set_aside"]:
        blocks.append(
            bars(report["set_aside"], caption=Words("Rows set aside, by reason", "未使用的行，按原因"), tone="warn")
        )
    by_task = (report.get("eval") or {}).get("by_task") or {}
    if by_task:
        tasks = sorted(by_task.items(), key=lambda one: -one[1])
        head = [
            Column(Words("task", "任务")),
            Column(Words("loss on validation, best step", "验证损失（最佳步）"), number=True),
        ]
        blocks.append(table(head, [(excerpt(name, 60), f"{value:.4f}") for name, value in tasks]))
    return blocks


def _list(lines: Sequence[str]) -> Markup:
    items = Markup("").join(Markup("<li>{}</li>").format(printable(one)) for one in lines)
    return Markup("<ul>{}</ul>").format(items)


def _loss(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _short(value: float) -> str:
    return f"{value:.3g}"


def _time(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.1f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def _speed(rate: float | None) -> Words | str:
    return "" if rate is None else Words(f"{rate:,.0f} tokens/s", f"{rate:,.0f} 词元/秒")


def _planned(plan: Mapping[str, Any] | None) -> Words | str:
    if not plan:
        return ""
    span = f"{plan['memory_gb']['low']:.2f}–{plan['memory_gb']['high']:.2f}"
    return Words(f"planned {span}", f"计划 {span}")


def _stopped(report: Mapping[str, Any]) -> tuple[str, str]:
    if report.get("stopped_early"):
        return f"stopped early, of {report['planned_steps']:,}", f"提前停止，原计划 {report['planned_steps']:,}"
    if report.get("best_step") is not None:
        return f"best at {report['best_step']:,}", f"最佳在第 {report['best_step']:,} 步"
    return "", ""


def _held(rows: int) -> tuple[str, str]:
    return (f"{rows:,} held out", f"另留出 {rows:,} 行验证") if rows else ("none held out", "未留出验证集")


def _mostly_chinese(report: Mapping[str, Any]) -> bool:
    text = "".join(str(one["text"]) for example in report["examples"] for one in example if one["weight"])
    return sum("\u4e00" <= char <= "\u9fff" for char in text) > 0.3 * max(len(text), 1)


def _yaml(recipe: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(recipe), allow_unicode=True, sort_keys=False)


_FOOT = Words(
    "Excerpts are cut, and obvious identifiers in them are masked. This page loads nothing and runs no script.",
    "示例已截短，并遮盖了明显的个人标识。本页面不加载任何外部内容，也不运行脚本。",
)
