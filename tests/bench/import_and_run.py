"""Import and run over a large JSONL file, beside polars' scan_ndjson().sink_parquet() on the same file.

    python tests/bench/import_and_run.py [--megabytes 1000] [--rounds 3] [--folder DIR]

Every command is a process of its own, the commands take turns, and what is printed are medians, ratios to polars taken
round by round, and each process's peak memory. The file is made up, bilingual, and the same every time.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

EN = """
the order was shipped on monday and should arrive within three working days please check your
account page for the tracking number if the parcel does not show up contact our support team and we
will send a replacement or refund you router signal filter warranty invoice battery charger screen
update install remove cable wall light sensor kitchen
"""
ZH = """
您好 您的 订单 已经 发货 预计 三个 工作日 内 送达 请 在 账户 页面 查看
物流 单号 如果 没有 收到 包裹 请 联系 客服 我们 会 为您 补发 或者 退款
路由器 信号 滤网 保修 发票 电池 充电器 屏幕 更新 安装 拆卸 电源线 墙面
灯光 传感器 厨房
"""

POLARS = """
import sys, polars as pl
pl.scan_ndjson(sys.argv[1]).sink_parquet(sys.argv[2])
"""

RECIPE = """
name: bench
inputs: [{dataset}]
stages:
  - use: normalise_text
  - use: empty
  - use: length
    min_chars: 20
  - use: placeholder
  - use: refusal
  - use: truncated
  - use: repetition
  - use: exact_duplicates
"""


def sentence(random_: random.Random, words: str, joint: str, end: str) -> str:
    """A made-up sentence."""
    return joint.join(random_.choices(words.split(), k=random_.randint(6, 18))) + end


def text(random_: random.Random, chinese: bool, sentences: int) -> str:
    """Some made-up sentences."""
    words, joint, end = (ZH, "", "。") if chinese else (EN, " ", ". ")
    return "".join(sentence(random_, words, joint, end) for _ in range(sentences)).strip()


def write_rows(path: Path, megabytes: int) -> int:
    """Write rows of about 1 KB, a tenth of them twice; the number of rows."""
    random_ = random.Random(7)
    rows, size = 0, 0
    last = b""
    with path.open("wb") as file:
        while size < megabytes * 1_000_000:
            chinese = random_.random() < 0.5
            if last and random_.random() < 0.1:
                line = last
            else:
                row = {
                    "instruction": text(random_, chinese, 1),
                    "input": text(random_, chinese, 1) if random_.random() < 0.3 else "",
                    "output": text(random_, chinese, random_.randint(4, 18)),
                    "category": random_.choice(["refund", "delivery", "warranty"]),
                }
                line = orjson.dumps(row) + b"\n"
            file.write(line)
            last = line
            size += len(line)
            rows += 1
    return rows


def measured(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak resident memory in MB of a process."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    if status:
        assert process.stderr is not None
        sys.exit(f"{command} failed:\n{process.stderr.read().decode()}")
    return seconds, usage.ru_maxrss / 1000


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        work = Path(folder)
        rows_file = work / "rows.jsonl"
        rows = write_rows(rows_file, chosen.megabytes)
        print(f"{rows:,} rows, {rows_file.stat().st_size / 1e6:,.0f} MB", flush=True)
        dataset, clean, recipe = work / "dataset", work / "clean", work / "recipe.yaml"
        recipe.write_text(RECIPE.format(dataset=dataset), encoding="utf-8")
        curate = [sys.executable, "-m", "curate.cli"]
        commands = {
            "polars": [sys.executable, "-c", POLARS, str(rows_file), str(work / "polars.parquet")],
            "import": [*curate, "import", str(rows_file), "--out", str(dataset)],
            "run": [*curate, "run", str(recipe), "--out", str(clean)],
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(chosen.rounds):
            subprocess.run(["rm", "-rf", str(clean), str(dataset), str(work / "polars.parquet")], check=True)
            for name, command in commands.items():
                found[name].append(measured(command))
                print(f"  {name}: {found[name][-1][0]:.1f} s, {found[name][-1][1]:,.0f} MB", flush=True)
        for name, results in found.items():
            seconds = statistics.median(second for second, _ in results)
            ratios = [polars[0] / one[0] for polars, one in zip(found["polars"], results, strict=True)]
            peak = max(peak for _, peak in results)
            print(
                f"{name:7} median {seconds:6.1f} s  {rows / seconds:>10,.0f} rows/s  peak {peak:6,.0f} MB  "
                f"rate as a share of polars' {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()
