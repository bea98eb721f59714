"""How much an instruction asks for, by its verb."""

from __future__ import annotations

import polars as pl

from curate import verbs
from curate.measure import Field, Measure, gives


class BloomLevel(Measure):
    """Level of what an instruction asks for: 1 remember, 2 understand, 3 apply, 4 analyse, 5 evaluate, 6 create.

    Bloom's taxonomy as Anderson & Krathwohl revised it in 2001, by the first verb of hand-written lists, English and
    Chinese, in the first sentence; what is to be written counts where it is named (`write a list`, 写一份总结).
    Null where there is no such verb, as in most questions. It tells what kind of work is asked for, not how hard it is.
    """

    type = "numbers"
    unit = "level"
    field = "instruction"

    examples = (
        gives(1, instruction="List three fruits.", answer="Apple, pear, plum."),
        gives(1, instruction="请列出三种水果。", answer="苹果、梨、李子。"),
        gives(2, instruction="Could you please explain what inflation is?", answer="Prices go up."),
        gives(2, instruction="把下面的句子翻译成英文：你好", answer="Hello"),
        gives(2, instruction="Write a short summary of the article.", answer="It is about bees."),
        gives(3, instruction="计算 12 乘以 7。", answer="84"),
        gives(4, instruction="分析这首诗的主题。", answer="思乡。"),
        gives(5, instruction="Evaluate the argument below.", answer="It begs the question."),
        gives(6, instruction="写一首关于秋天的诗。", answer="秋风起兮白云飞。"),
        gives(None, instruction="What is the capital of France?", answer="Paris."),
        gives(None, instruction="天空为什么是蓝色的？", answer="因为散射。"),
    )

    def value(self, field: Field) -> pl.Expr:
        return verbs.bloom_level(self.text(field))
