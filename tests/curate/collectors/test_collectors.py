"""What every collector promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.collectors.collector import Collector, Refused, choose, decode, encoding_of, is_chinese
from schemas.errors import Rejected
from schemas.lookup import find, names

NAMES = [name for name in names("curate.collectors") if name != "collector"]


def test_the_folder_offers_the_three_collectors() -> None:
    assert NAMES == ["chats", "code", "docs"]


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_a_simple_option_with_a_description(name: str) -> None:
    collector = find("curate.collectors", name, Collector)  # type: ignore[type-abstract]

    for setting, field in collector.model_fields.items():
        assert field.description, setting
        assert field.annotation in (str, int, float, bool, list[str], float | None), setting


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_gone_empty_or_binary_is_refused_and_the_next_one_read(name: str, tmp_path: Path) -> None:
    collector = find("curate.collectors", name, Collector)()  # type: ignore[type-abstract]
    suffix = collector.suffixes()[0]
    (tmp_path / f"binary{suffix}").write_bytes(bytes(range(256)) * 40)

    out = list(collector.collect([(tmp_path / f"{stem}{suffix}", f"{stem}{suffix}") for stem in ("gone", "binary")]))

    assert [one.file for one in out] == [f"gone{suffix}", f"binary{suffix}"]
    assert all(isinstance(one, Refused) for one in out)


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030"])
def test_encodings_are_recognised(codec: str) -> None:
    text = "# 安装说明\n\n请先下载安装包，然后运行 install.sh 脚本，按照提示完成配置。"

    assert decode(text.encode(codec)) == text


def test_one_broken_byte_does_not_make_another_encoding() -> None:
    data = ("客服您好，我的订单还没有发货。" * 20).encode() + b"\xff"

    assert encoding_of(data) == "utf-8"
    with pytest.raises(Rejected, match="bad_encoding"):
        decode(data)


def test_binary_is_not_text() -> None:
    with pytest.raises(Rejected, match="not_text"):
        decode(b"\x00\x01\x02\x03" * 100)


@pytest.mark.parametrize(
    ("text", "chinese"),
    [
        ("请运行 pip install assay 命令", True),
        ("Install it with pip", False),
        ("The character 你 means you in this long English sentence", False),
        ("これは日本語の文章です", False),
    ],
)
def test_chinese_is_told_by_its_share(text: str, chinese: bool) -> None:
    assert is_chinese(text) is chinese


def test_a_phrasing_belongs_to_its_key() -> None:
    chosen = {choose(["a", "b", "c"], f"key {number}") for number in range(50)}

    assert chosen == {"a", "b", "c"}
    assert choose(["a", "b", "c"], "key 1") == choose(["a", "b", "c"], "key 1")
