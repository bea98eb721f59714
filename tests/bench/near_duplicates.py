"""Near duplicates of a large JSONL file: our search beside other tools', each a process from the file to ids.

    python tests/bench/near_duplicates.py [--rows 100000] [--small-rows 20000] [--rounds 2] [--corpus FILE.jsonl]
        [--peer NAME ...] [--truth-rows 20000] [--limit 300] [--work DIR]

Every tool reads rows of `{"id", "text"}`, looks for near duplicates at a Jaccard similarity of 0.8 over shingles of
five words, with 128 permutations where it has any, and writes the ids of the rows it would drop. Each is a process of
its own, the tools take turns, and what is printed are medians, and ratios taken round by round. Slow tools run on fewer
rows, beside ours on the same. Before the first round each tool runs once on 50 rows, unmeasured: files are in memory
then, and our kernels compiled.

Peers are installed, each into an environment of its own below --work, from the package index pip is set to. One that
does not install, fails or takes too long is in the table, with the reason.

Recall and precision are of a run on the first rows, against an exact search written below in plain Python. Tools differ
in what a word is: ours is measured by our definition, the others by lower-case words between white space. Those that
part words at punctuation, or fold digits, lose some of both by that alone. Recall: of the rows with a near duplicate
before them, how many are dropped. Precision: of the dropped rows, how many have a near duplicate at all. Left: rows
kept although a row kept before them is a near duplicate. Ours keeps a row whose only near duplicates were dropped for
another row, which counts against its recall, and leaves none.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
THRESHOLD, WORDS = 0.8, 5
FEW = 50
INSTALL_SECONDS = 900
NO_TORCH = "torch<0\n"
"""A constraint for pip: gigabytes for a GPU are not needed by any search here."""

# --- Scripts: what is imported, timed, and what is done then -------------------------------------------------

SCRIPT = """
import json, os, sys, time
began = time.perf_counter()
{imports}
print(json.dumps({{"imports": time.perf_counter() - began}}), file=sys.stderr, flush=True)
source, target = sys.argv[1:]
{work}
"""

READ = """
with open(source, encoding="utf-8") as file:
    rows = [json.loads(line) for line in file]

def shingles(text):
    words = text.lower().split()
    return [" ".join(words[at : at + 5]) for at in range(max(1, len(words) - 4))]
"""

# The tests need scipy, and users do not have it: numba imports it wherever it is, for a third of a second.
OUR_IMPORTS = """
import sys
sys.modules["scipy"] = None
import polars as pl
from curate.near import Comparison, warm_up
"""

OURS = """
warm_up()
rows = pl.read_ndjson(source, schema={"id": pl.String, "text": pl.String})
dropped = Comparison(n=5).matches(rows["text"]).kept >= 0
rows.filter(pl.Series(dropped)).select("id").write_csv(target, include_header=False)
"""

POLARS = """
pl.read_ndjson(source, schema={"id": pl.String, "text": pl.String})
open(target, "w").close()
"""

DATASKETCH = f"""{READ}
index = MinHashLSH(threshold=0.8, num_perm=128)
sets = ({{one.encode() for one in shingles(row["text"])}} for row in rows)
with open(target, "w") as out:
    for row, signature in zip(rows, MinHash.generator(sets, num_perm=128)):
        if index.query(signature):
            print(row["id"], file=out)
        else:
            index.insert(row["id"], signature)
"""

RENSA = f"""{READ}
index = RMinHashDeduplicator(threshold=0.8, num_perm=128, use_lsh=True)
kept = index.add_pairs((row["id"], shingles(row["text"])) for row in rows)
with open(target, "w") as out:
    out.writelines(f"{{row['id']}}\\n" for row, keep in zip(rows, kept) if not keep)
"""

RENSA_MATRIX = f"""{READ}
matrix = RMinHash.SIGN((shingles(row["text"]) for row in rows), num_perm=128, seed=42)
index = RMinHashLSH(threshold=0.8, num_perm=128, num_bands=16)
flags = index.query_duplicate_flags_matrix_one_shot(matrix)
with open(target, "w") as out:
    out.writelines(f"{{row['id']}}\\n" for row, flag in zip(rows, flags) if flag)
"""

GAOYA = """
with open(source, encoding="utf-8") as file:
    rows = [json.loads(line) for line in file]
texts = [row["text"] for row in rows]
index = MinHashStringIndex(
    hash_size=32, jaccard_threshold=0.8, num_bands=16, band_size=8, analyzer="word", lowercase=True, ngram_range=(5, 5),
    id_container="vec",
)
index.par_bulk_insert_docs(list(range(len(rows))), texts)
with open(target, "w") as out:
    for place, found in enumerate(index.par_bulk_query(texts)):
        if min(found, default=place) < place:
            print(rows[place]["id"], file=out)
"""

TEXTPROC = """
rows = pl.read_ndjson(source, schema={"id": pl.String, "text": pl.String})
signature = minhash(pl.col("text").str.to_lowercase(), buckets=16, bsize=8, window=5)
bands = [pl.col("signature").str.slice(32 * band, 32) for band in range(16)]
later = pl.any_horizontal(~band.is_first_distinct() for band in bands)
signed = rows.select("id", signature=signature)
signed.filter(later).select("id").write_csv(target, include_header=False)
"""

DAFT = """
text = col("text").normalize(lowercase=True, white_space=True)
signature = minhash(text, num_hashes=128, ngram_size=5, hash_function="xxhash")
table = daft.read_json(source).select(col("id"), signature.alias("signature")).to_arrow()
values = table["signature"].combine_chunks().flatten().to_numpy().reshape(-1, 16, 8)
later = np.zeros(len(values), dtype=bool)
for band in range(16):
    keys = np.ascontiguousarray(values[:, band]).view("V32").ravel()
    others = np.ones(len(keys), dtype=bool)
    others[np.unique(keys, return_index=True)[1]] = False
    later |= others
ids = table["id"].to_pylist()
with open(target, "w") as out:
    out.writelines(f"{ids[place]}\\n" for place in np.flatnonzero(later))
"""

TEXT_DEDUP = """
with open("config.toml", "w") as file:
    file.write(f'''
[input]
input_type = "local_files"
file_type = "json"
read_arguments = {{path = "json", data_files = {json.dumps(source)}, split = "train"}}
[algorithm]
algorithm_name = "minhash"
text_column = "text"
num_perm = 128
threshold = 0.8
ngram_size = 5
min_length = 1
check_false_positive = true
[output]
output_dir = "output"
skip_filtering = true
keep_index_column = true
keep_cluster_column = true
[debug]
enable_profiling = false
''')
main(Config())
columns = ["id", "__INDEX__", "__CLUSTER__"]
with open(target, "w") as out:
    for one, index, cluster in load_from_disk("output").select_columns(columns).to_polars().rows():
        if index != cluster:
            print(one, file=out)
"""

DATA_JUICER = """
rows = load_dataset("json", data_files=source, split="train")
stage = DocumentMinhashDeduplicator(num_permutations=128, jaccard_threshold=0.8)
hashed = rows.map(stage.compute_hash, num_proc=os.cpu_count())
kept = set(stage.process(hashed)[0]["id"])
with open(target, "w") as out:
    out.writelines(f"{one}\\n" for one in rows["id"] if one not in kept)
"""

DATATROVE = """
workers = os.cpu_count()
lines = Path(source).read_bytes().splitlines(keepends=True)
Path("rows").mkdir()
for part in range(workers):
    begin, end = len(lines) * part // workers, len(lines) * (part + 1) // workers
    Path(f"rows/{part:05}.jsonl").write_bytes(b"".join(lines[begin:end]))
config = MinhashConfig(n_grams=5, num_buckets=16, hashes_per_bucket=8)
dropped = JsonlWriter("dropped", compression=None)
steps = [
    (workers, [JsonlReader("rows"), dedup.MinhashDedupSignature("signed", config)]),
    (config.num_buckets, [dedup.MinhashDedupBuckets("signed", "found", config=config)]),
    (1, [dedup.MinhashDedupCluster("found", "clusters", config=config)]),
    (workers, [JsonlReader("rows"), dedup.MinhashDedupFilter("clusters", dropped)]),
]
for number, (tasks, pipeline) in enumerate(steps):
    LocalPipelineExecutor(pipeline, tasks, workers, logging_dir=f"logs/{number}", start_method="fork").run()
with open(target, "w") as out:
    for path in sorted(Path("dropped").glob("*.jsonl")):
        out.writelines(f"{json.loads(line)['id']}\\n" for line in path.read_bytes().splitlines())
"""

# --- Tools ---------------------------------------------------------------------------------------------------


@dataclass
class Tool:
    """A way to find near duplicates, or why there is none."""

    name: str
    imports: str
    work: str
    needs: tuple[str, ...] = ()
    """What to install; nothing for what this environment has."""
    note: str = ""
    slow: bool = False
    python_minor: int = 11
    """It needs this Python 3 or a later one."""
    interpreter: str = ""
    failure: str = ""
    runs: list[Run] = field(default_factory=list)
    """Those measured on one file."""
    dropped: dict[int, set[int]] = field(default_factory=dict)
    """Which rows, by how many there are."""

    @property
    def is_ours(self) -> bool:
        """Whether it runs from this repository, in this environment."""
        return not self.needs

    def command(self) -> list[str]:
        """The process to start, less the files."""
        return [self.interpreter, "-c", SCRIPT.format(imports=self.imports.strip(), work=self.work.strip())]


@dataclass(frozen=True)
class Run:
    """What one process took. The peak is of the largest process where a tool starts several."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    import_seconds: float

    @property
    def work_seconds(self) -> float:
        """All but the imports."""
        return self.seconds - self.import_seconds


class FailedError(Exception):
    """A tool did not install or did not finish; the message says why, in a line."""


RENSA_NEEDS = ("rensa==0.5.0",)


def known_tools() -> list[Tool]:
    """Ours, the time that polars takes to parse the file, and the peers."""
    return [
        Tool("ours", OUR_IMPORTS, OURS, note="exact search"),
        Tool("polars parse", "import polars as pl", POLARS, note="reads the file and no more"),
        Tool(
            "datasketch",
            "from datasketch import MinHash, MinHashLSH",
            DATASKETCH,
            ("datasketch==2.0.0",),
            "its bands, 9 of 13; not verified",
        ),
        Tool(
            "rensa",
            "from rensa import RMinHashDeduplicator",
            RENSA,
            RENSA_NEEDS,
            "its deduplicator; verified by signature",
        ),
        Tool(
            "rensa-lsh",
            "from rensa import RMinHash, RMinHashLSH",
            RENSA_MATRIX.replace("SIGN", "digest_matrix_from_token_sets"),
            RENSA_NEEDS,
            "its matrices, 16 bands of 8; not verified; flags both rows of a pair",
        ),
        Tool(
            "rensa-rho",
            "from rensa import RMinHash, RMinHashLSH",
            RENSA_MATRIX.replace("SIGN", "digest_matrix_from_token_sets_rho"),
            RENSA_NEEDS,
            "the same with its sampling sketch",
        ),
        Tool(
            "gaoya",
            "from gaoya.minhash import MinHashStringIndex",
            GAOYA,
            ("gaoya==0.2.2",),
            "16 bands of 8; verified by signature",
        ),
        Tool(
            "polars-textproc",
            "import polars as pl\nfrom polars_textproc import minhash",
            TEXTPROC,
            ("polars-textproc==0.1.6", "polars==2.1.0"),
            r"16 bands of 8, joined in polars; not verified; words are \w+",
        ),
        Tool(
            "daft",
            "import daft, numpy as np\nfrom daft import col\nfrom daft.functions import minhash",
            DAFT,
            ("daft==0.7.26", "numpy==2.4.6"),
            "16 bands of 8, joined in numpy; not verified",
        ),
        Tool(
            "text-dedup",
            "from datasets import load_from_disk\nfrom text_dedup.config import Config\n"
            "from text_dedup.minhash import main",
            TEXT_DEDUP,
            ("text-dedup==0.4.1",),
            r"its bands, 9 of 13; verified exactly; words part at \W",
            slow=True,
            python_minor=12,
        ),
        Tool(
            "data-juicer",
            "from datasets import load_dataset\n"
            "from data_juicer.ops.deduplicator.document_minhash_deduplicator import DocumentMinhashDeduplicator",
            DATA_JUICER,
            ("py-data-juicer==1.6.1", "aiohttp==3.14.5", "ray==2.60.0", "scipy==1.17.1"),
            "its bands, 9 of 13; not verified",
            slow=True,
        ),
        Tool(
            "datatrove",
            "from pathlib import Path\nfrom datatrove.executor import LocalPipelineExecutor\n"
            "from datatrove.pipeline import dedup\nfrom datatrove.pipeline.dedup.minhash import MinhashConfig\n"
            "from datatrove.pipeline.readers import JsonlReader\nfrom datatrove.pipeline.writers import JsonlWriter",
            DATATROVE,
            ("datatrove==0.10.1", "orjson", "regex", "spacy==3.8.18", "tokenizers", "xxhash==3.6.0"),
            "16 bands of 8; not verified; drops punctuation, folds digits",
            slow=True,
        ),
    ]


def python_of(minor: int) -> str:
    """An interpreter for Python 3.`minor` or later, of those on this machine."""
    names = [shutil.which(f"python3.{one}") for one in range(minor, 15)]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    others = [str(path / "bin" / "python") for one in range(minor, 15) for path in sorted(pyenv.glob(f"3.{one}.*"))]
    test = f"import sys, venv; sys.exit(sys.version_info < (3, {minor}))"
    for python in [sys.executable, *names, *others]:
        if python and subprocess.run([python, "-c", test], capture_output=True, check=False).returncode == 0:
            return python
    raise FailedError(f"needs Python 3.{minor}, which is not here")


def install(tool: Tool, work: Path) -> None:
    """Give the tool an environment with what it needs; one that is there from before is used again."""
    if tool.is_ours:
        tool.interpreter = sys.executable
        return
    folder = work / "environments" / tool.needs[0]
    wanted, done = "\n".join(tool.needs), folder / "needs.txt"
    tool.interpreter = str(folder / "bin" / "python")
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return
    print(f"  installing {tool.needs[0]}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    bound = work / "constraints.txt"
    folder.parent.mkdir(parents=True, exist_ok=True)
    bound.write_text(NO_TORCH, encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", tool.interpreter]
    for command in (
        # Debian's Python has no pip to put into an environment: the one at hand installs from outside.
        [python_of(tool.python_minor), "-m", "venv", "--without-pip", str(folder)],
        [*pip, "install", "--quiet", "--constraint", str(bound), *tool.needs],
    ):
        try:
            done_now = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise FailedError(f"not installed within {INSTALL_SECONDS} s") from None
        if done_now.returncode:
            reason = "pulls torch" if "torch<0" in done_now.stderr else last_line(done_now.stderr)
            raise FailedError(f"not installed: {reason}")
    done.write_text(wanted, encoding="utf-8")


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


# --- Runs ----------------------------------------------------------------------------------------------------


def environment(tool: Tool, scratch: Path) -> dict[str, str]:
    """Variables for a process: nothing kept from the run before, and nothing installed or fetched while it runs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    bound = scratch / "constraints.txt"
    bound.write_text(NO_TORCH, encoding="utf-8")
    if tool.is_ours:
        return {**kept, "PYTHONPATH": str(ROOT)}
    return {
        **kept,
        "HF_HOME": str(scratch),
        "HF_HUB_OFFLINE": "1",
        "DATA_JUICER_CACHE_HOME": str(scratch),
        "PIP_CONSTRAINT": str(bound),
        "PIP_NO_INDEX": "1",
        "UV_CACHE_DIR": str(scratch),
        "UV_OFFLINE": "1",
    }


def run(tool: Tool, source: Path, limit: float) -> tuple[Run, set[int]]:
    """What a process took, and which rows it would drop."""
    with tempfile.TemporaryDirectory(prefix="near-duplicates-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        target, said = scratch / "dropped.txt", scratch / "stderr.txt"
        command = [*tool.command(), str(source), str(target)]
        with said.open("wb") as stderr:
            began = time.monotonic()
            process = subprocess.Popen(
                command,
                cwd=scratch,
                env=environment(tool, scratch),
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
            too_long = threading.Event()

            def stop() -> None:
                too_long.set()
                kill(process.pid)

            timer = threading.Timer(limit, stop)
            timer.start()
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.monotonic() - began
            timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        kill(process.pid)  # what it left running
        messages = said.read_text(encoding="utf-8", errors="replace")
        if too_long.is_set():
            raise FailedError(f"not done after {limit:.0f} s on {source.stem} rows")
        if process.returncode:
            raise FailedError(f"failed on {source.stem} rows: {last_line(messages)}")
        times = [line for line in messages.splitlines() if line.startswith('{"imports"')]
        taken = Run(
            seconds,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss / 1000,
            float(json.loads(times[0])["imports"]),
        )
        return taken, {int(line) for line in target.read_text(encoding="utf-8").split()}


def kill(group: int) -> None:
    """End a process and those it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def rounds(tools: list[Tool], source: Path, count: int, times: int, limit: float) -> None:
    """Measure tools on a file, in turns. One that fails is not tried again."""
    for number in range(times):
        for tool in tools:
            if tool.failure:
                continue
            try:
                taken, dropped = run(tool, source, limit)
            except FailedError as error:
                tool.failure = str(error)
                print(f"  {tool.name}: {error}", flush=True)
                continue
            tool.runs.append(taken)
            tool.dropped[count] = dropped
            print(f"  round {number + 1}, {tool.name}: {taken.seconds:.2f} s", flush=True)


def judge(tools: list[Tool], source: Path, count: int, limit: float) -> None:
    """Let tools run, unmeasured, on the rows that recall and precision are of, unless they have."""
    for tool in tools:
        if not tool.failure and count not in tool.dropped:
            try:
                tool.dropped[count] = run(tool, source, limit)[1]
            except FailedError as error:
                tool.failure = str(error)


# --- Truth ---------------------------------------------------------------------------------------------------


class Spaced(dict[int, str]):
    """What a folded character becomes so that white space parts tokens: ideographs and kana, and every visible
    character that is no letter or digit, are tokens of their own."""

    alone = ("CJK ", "HIRAGANA ", "KATAKANA", "IDEOGRAPHIC ", "HANGZHOU ", "HENTAIGANA ", "VERTICAL ")
    """How the names of ideographs and kana begin, and of the marks that stand for them."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        category = unicodedata.category(char)
        if category in ("Cc", "Cf") or category[0] == "Z":
            found = " "
        elif category[0] in "LNM" and not unicodedata.name(char, "").startswith(self.alone):
            found = char
        else:
            found = f" {char} "
        self[code] = found
        return found


SPACED = Spaced()


def our_words(text: str) -> list[str]:
    """A text's tokens as `curate.kernels.shingles` defines them."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return folded.translate(SPACED).split()


def plain_words(text: str) -> list[str]:
    """Lower-case words between white space."""
    return text.lower().split()


def shingle_sets(texts: Iterable[str], words_of: Callable[[str], list[str]]) -> list[set[int]]:
    """Each text's shingles, numbered; a text of fewer words is one, and one without any its exact characters."""
    numbers: dict[str, int] = {}
    sets = []
    for text in texts:
        words = words_of(text)
        shingles = {" ".join(words[at : at + WORDS]) for at in range(max(1, len(words) - WORDS + 1))}
        sets.append({numbers.setdefault(one, len(numbers)) for one in (shingles if words else ["\0" + text])})
    return sets


def near(one: set[int], other: set[int]) -> bool:
    """Whether two sets reach the threshold."""
    if min(len(one), len(other)) < THRESHOLD * max(len(one), len(other)) - 1e-9:
        return False
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) >= THRESHOLD


def near_pairs(sets: list[set[int]]) -> Iterator[tuple[int, int]]:
    """All pairs of near duplicates, the earlier row first: such rows share one of the rarest shingles of each, as many
    as could all be missing from the other row, and one more."""
    frequency = Counter(chain.from_iterable(sets))
    rows_with: dict[int, list[int]] = defaultdict(list)
    for row, own in enumerate(sets):
        rarest = sorted(own, key=lambda one: (frequency[one], one))
        rarest = rarest[: len(own) - math.ceil(THRESHOLD * len(own) - 1e-9) + 1]
        for other in {other for shingle in rarest for other in rows_with[shingle]}:
            if near(own, sets[other]):
                yield other, row
        for shingle in rarest:
            rows_with[shingle].append(row)


@dataclass(frozen=True)
class Accuracy:
    """What dropping these rows does, against the exact pairs; None where there is nothing to take a share of."""

    dropped: int
    recall: float | None
    precision: float | None
    left: int


def accuracy(dropped: set[int], pairs: list[tuple[int, int]], count: int) -> Accuracy:
    """How good the dropped rows of the first `count` are."""
    pairs = [(first, second) for first, second in pairs if second < count]
    later = {second for _, second in pairs}
    either = later | {first for first, _ in pairs}
    left = {second for first, second in pairs if first not in dropped and second not in dropped}
    return Accuracy(
        len(dropped),
        len(dropped & later) / len(later) if later else None,
        len(dropped & either) / len(dropped) if dropped else None,
        len(left),
    )


# --- What is printed -----------------------------------------------------------------------------------------


def print_speed(tools: list[Tool], count: int, size: int) -> None:
    """Time and memory of each tool, and ours as a share of it."""
    ours = tools[0].runs
    print(f"\n{count:,} rows, {size / 1e6:,.0f} MB, rounds: {len(ours)}. Below 1 ours is faster\n")
    print(f"{'':16}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}{'rows/s':>10}{'ours/theirs':>13}{'less imports':>14}")
    for tool in tools:
        runs = tool.runs
        if tool.failure:
            print(f"{tool.name:16}  {tool.failure}")
            continue
        pairs = list(zip(ours, runs, strict=True))
        whole = statistics.median(mine.seconds / theirs.seconds for mine, theirs in pairs)
        work = statistics.median(mine.work_seconds / theirs.work_seconds for mine, theirs in pairs)
        wall = statistics.median(one.seconds for one in runs)
        print(
            f"{tool.name:16}{wall:>8.2f}{statistics.median(one.cpu_seconds for one in runs):>8.2f}"
            f"{max(one.peak_mb for one in runs):>9,.0f}{count / wall:>10,.0f}{whole:>13.3f}{work:>14.3f}"
        )


def print_accuracy(tools: list[Tool], count: int, truth: dict[bool, list[tuple[int, int]]]) -> None:
    """Recall and precision of each tool, by its definition."""
    print(f"\nthe first {count:,} rows, against exact pairs at {THRESHOLD}\n")
    print(f"{'':16}{'dropped':>8}{'recall':>8}{'precision':>11}{'left':>6}  words  how")
    for tool in tools:
        if tool.failure:
            print(f"{tool.name:16}  {tool.failure}")
            continue
        found = accuracy(tool.dropped[count], truth[tool.is_ours], count)
        shares = ["-" if share is None else f"{share:.4f}" for share in (found.recall, found.precision)]
        print(
            f"{tool.name:16}{found.dropped:>8,}{shares[0]:>8}{shares[1]:>11}{found.left:>6,}  "
            f"{'ours ' if tool.is_ours else 'plain'}  {tool.note}"
        )


def print_start(ours: Tool, source: Path, first: float, limit: float) -> None:
    """What our process takes when there is next to nothing to do."""
    taken = [run(ours, source, limit)[0] for _ in range(3)]
    whole = statistics.median(one.seconds for one in taken)
    imports = statistics.median(one.import_seconds for one in taken)
    print(f"\nours on {FEW} rows: {whole:.2f} s, {imports:.2f} s of it imports; {first:.2f} s the first time,")
    print("when kernels are compiled unless this machine has them from before")


# --- The comparison ------------------------------------------------------------------------------------------


def texts_of(path: Path) -> Iterator[str]:
    """The texts of a file's rows that have one."""
    with path.open("rb") as file:
        for line in file:
            text = json.loads(line).get("text") if line.strip() else None
            if text:
                yield text


def write_rows(folder: Path, texts: Iterable[str]) -> tuple[int, Path]:
    """How many rows, and a file of them named for that; their ids are their places."""
    part, count = folder / "part", 0
    with part.open("w", encoding="utf-8") as sink:
        for count, text in enumerate(texts, 1):
            sink.write(json.dumps({"id": str(count - 1), "text": text}, ensure_ascii=False) + "\n")
    return count, part.rename(folder / f"{count}.jsonl")


def parsed() -> argparse.Namespace:
    """What was asked for."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "assay" / "bench"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--small-rows", type=int, default=20_000, help="for peers that take minutes")
    parser.add_argument("--truth-rows", type=int, default=20_000, help="recall and precision are of so many")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--corpus", type=Path, help="JSONL with a text in each row; else what corpus.py finds")
    parser.add_argument("--peer", action="append", choices=[tool.name for tool in known_tools() if tool.needs])
    parser.add_argument("--limit", type=float, default=300, help="seconds a process may take")
    parser.add_argument("--work", type=Path, default=cache, help="where peers are installed")
    return parser.parse_args()


def main() -> None:
    """Run the comparison."""
    chosen = parsed()
    tools = [tool for tool in known_tools() if tool.is_ours or not chosen.peer or tool.name in chosen.peer]
    work = chosen.work.resolve()
    for tool in tools:
        try:
            install(tool, work)
        except FailedError as error:
            tool.failure = str(error)
            print(f"  {tool.name}: {error}", flush=True)
    ours, floor = tools[:2]
    with tempfile.TemporaryDirectory(prefix="near-duplicates-") as name:
        folder = Path(name)
        corpus = chosen.corpus
        if corpus is None:
            corpus, maker = folder / "corpus.jsonl", Path(__file__).with_name("corpus.py")
            subprocess.run([sys.executable, str(maker), str(corpus), "--rows", str(chosen.rows)], check=True)
        count, source = write_rows(folder, islice(texts_of(corpus), chosen.rows))

        def first(wanted: int) -> tuple[int, Path]:
            return write_rows(folder, islice(texts_of(source), wanted)) if wanted < count else (count, source)

        few = first(FEW)[1]
        began = time.monotonic()
        for tool in tools:
            if not tool.failure:
                with suppress(FailedError):  # then it fails on all rows as well, and is reported
                    run(tool, few, chosen.limit)
            if tool is ours:
                first_seconds = time.monotonic() - began
        judged: list[tuple[int, list[Tool]]] = []
        for slow, wanted in ((False, count), (True, chosen.small_rows)):
            peers = [tool for tool in tools[2:] if tool.slow is slow]
            if slow and not peers:
                continue
            rows, path = first(wanted)
            for tool in (ours, floor):
                tool.runs.clear()
            rounds([ours, floor, *peers], path, rows, chosen.rounds, chosen.limit)
            if ours.failure:
                sys.exit(ours.failure)
            print_speed([ours, floor, *peers], rows, path.stat().st_size)
            rows, path = first(min(rows, chosen.truth_rows))
            judge([ours, *peers], path, rows, chosen.limit)
            judged.append((rows, [ours, *peers]))
        print_start(ours, few, first_seconds, chosen.limit)
        # Last: a process's peak memory begins with that of the process that starts it.
        texts = list(islice(texts_of(source), chosen.truth_rows))
        truth = {
            is_ours: list(near_pairs(shingle_sets(texts, words_of)))
            for is_ours, words_of in ((True, our_words), (False, plain_words))
        }
        for rows, group in judged:
            print_accuracy(group, rows, truth)


if __name__ == "__main__":
    main()
