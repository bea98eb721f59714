"""The `review` command line: parses, calls one function, shows its result. Heavy libraries load inside commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from schemas import console
from schemas.command import application
from schemas.errors import UserError

app = application("review", "Let people judge, correct and accept rows, and bring their answers back as datasets.")
users = application("users", "The people of a review server on this machine.")
app.add_typer(users)

Home = Annotated[Path, typer.Option("--home", help="The project home; the server's state is in its folder review.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
DEFAULT_HOME = Path(".assay")


@app.command()
def serve(
    home: Home = DEFAULT_HOME,
    port: Annotated[
        int | None, typer.Option("--port", help="Port; by default 6900, or the next one that is free. 0: any.")
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. Others than this machine's own are warned about.")
    ] = "127.0.0.1",
    annotators: Annotated[
        int, typer.Option("--annotators", min=0, max=1000, help="Annotators to invite at the first start.")
    ] = 2,
    as_json: Json = False,
) -> None:
    """Run Argilla with its web pages on this machine: one process, no Docker, no Elasticsearch, no Redis.

    The first start installs it (about 3 minutes, once for all projects) and invites an owner and annotators, whose
    passwords are printed once and kept in a file that only you may read. Ctrl-C stops it; everything is kept.
    """
    from review.serving import serve as serve_from

    say = console.note if as_json else console.say
    serve_from(home, host=host, port=port, annotators=annotators, as_json=as_json, say=say)


@app.command()
def backup(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write the copy to.", show_default=False)],
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Copy a review server's state, also while it runs. The copy can take the place of HOME/review."""
    from review.serving import backup as back_up

    made = back_up(home, out)
    if as_json:
        console.show_json({"backup": str(made)})
    else:
        console.say(f"copied to {made}")


@users.command("add")
def users_add(
    name: Annotated[str, typer.Argument(help="What they log in as.", show_default=False)],
    role: Annotated[str, typer.Option("--role", help="annotator or admin.")] = "annotator",
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Invite somebody; the server may be running or not. The password is printed once and kept in people.json."""
    from review.serving import add_person

    person = add_person(home, name, role, console.note)
    if as_json:
        console.show_json({"name": person.name, "role": person.role, "password": person.password})
    else:
        console.say(f"{person.role} {person.name}: password {person.password}")


@users.command("list")
def users_list(home: Home = DEFAULT_HOME, as_json: Json = False) -> None:
    """Who can log in, and how much each has answered."""
    from review.serving import accounts

    found = accounts(home)
    if as_json:
        console.show_json({"users": [{"name": one.name, "role": one.role, "answers": one.answers} for one in found]})
    elif not found:
        raise UserError(f"{home} has no review server yet", hint="review serve makes one")
    else:
        console.table(["name", "role", "answers"], [[one.name, one.role, one.answers] for one in found], numbers=[2])


Url = Annotated[str | None, typer.Option("--url", help="A team's Argilla; by default the server of this home.")]
KeyFile = Annotated[
    Path | None, typer.Option("--api-key-file", help="File that holds an owner's or admin's API key there.")
]
ReviewName = Annotated[str, typer.Argument(help="Name of the review, as it was pushed.", show_default=False)]
Replace = Annotated[bool, typer.Option("--replace", help="Put the new dataset in the place of another one.")]
Books = Annotated[Path | None, typer.Option("--from", help="Folder of the workbooks that came back.")]


@app.command()
def push(
    dataset: Annotated[Path, typer.Argument(help="A dataset folder.", show_default=False)],
    form: Annotated[
        str, typer.Option("--as", help="The form: pairs, ranking, answers, accept or labels.", show_default=False)
    ],
    name: Annotated[str | None, typer.Option("--name", help="Name of the review; by default the dataset's.")] = None,
    url: Url = None,
    key_file: KeyFile = None,
    workspace: Annotated[str | None, typer.Option("--workspace", help="Workspace on the server; `review`.")] = None,
    backend: Annotated[str, typer.Option("--backend", help="argilla, or xlsx: workbooks, see --people.")] = "argilla",
    people: Annotated[
        str | None, typer.Option("--people", help="xlsx: who gets a workbook, as anna,bo.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="xlsx: folder to write the workbooks to.")] = None,
    overlap: Annotated[int, typer.Option("--overlap", min=1, max=50, help="How many people answer each row.")] = 2,
    select: Annotated[
        str, typer.Option("--select", help="random, or a column, key of `extra` or score: highest first; lowest:NAME.")
    ] = "random",
    scores: Annotated[Path | None, typer.Option("--scores", help="A dataset of scores that --select names.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Ask about so many rows at most.")] = None,
    pairs: Annotated[int, typer.Option("--pairs", min=1, max=66, help="Pairs of each row with several answers.")] = 1,
    gold: Annotated[
        str | None,
        typer.Option(
            "--gold", help="Known answers, to check on people: a dataset, or a share of the rows such as 0.05."
        ),
    ] = None,
    repeat: Annotated[
        float, typer.Option("--repeat", min=0, max=0.5, help="Share asked twice, to see who is consistent.")
    ] = 0.0,
    only: Annotated[
        Path | None, typer.Option("--only", help="Ask these rows once more: what agreement --third wrote, or ids.")
    ] = None,
    guidelines: Annotated[Path | None, typer.Option("--guidelines", help="Markdown file that people read.")] = None,
    lang: Annotated[
        str | None, typer.Option("--lang", help="Language of the form: en or zh; that of most rows.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="Policy file that says who may see personal data.")
    ] = None,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Send rows to where people judge, correct or accept them.

    pairs: which of two answers is better, blind and in random order. ranking: several answers in order. answers: rate
    and correct an answer. accept: keep, fix or drop. labels: intent, emotion, needs a human.
    The same command again sends what is missing, and nothing twice; more rows, or a larger --limit, are added.
    """
    from review.backend import Access
    from review.pages import pushed_page
    from review.pushing import Push
    from review.pushing import push as push_rows
    from review.queue import Choice

    told = ""
    if guidelines is not None:
        try:
            told = guidelines.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{guidelines} cannot be read: {error}", hint="a Markdown file in UTF-8") from None
    named = tuple(one.strip() for one in (people or "").split(",") if one.strip())
    access = Access(home, url, key_file, workspace, named, out, told)
    choice = Choice(select, scores, limit, gold, repeat, pairs)
    found = push_rows(Push(dataset, form, choice, name, backend, overlap, lang, only, policy), access)
    if as_json:
        console.show_json(found)
    else:
        pushed_page(found)


@app.command()
def status(
    name: ReviewName,
    url: Url = None,
    key_file: KeyFile = None,
    books: Books = None,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """How far people are."""
    from review.backend import Access
    from review.labels import status as status_of
    from review.pages import status_page

    found = status_of(name, Access(home, url, key_file, folder=books))
    if as_json:
        console.show_json(found)
    else:
        status_page(found)


@app.command()
def pull(
    name: ReviewName,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write the labels to.", show_default=False)],
    url: Url = None,
    key_file: KeyFile = None,
    books: Books = None,
    replace: Replace = False,
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Bring the answers back as a dataset of labels; again whenever you like, into the same folder.

    People are named by pseudonyms. An answer that was pulled once is kept, whatever becomes of it on the server.
    """
    from review.backend import Access
    from review.labels import pull as pull_answers
    from review.pages import pulled_page

    found = pull_answers(name, out, Access(home, url, key_file, folder=books), replace=replace)
    if as_json:
        console.show_json(found)
    else:
        pulled_page(found)


@app.command()
def agreement(
    labels: Annotated[Path, typer.Argument(help="A dataset of labels.", show_default=False)],
    report: Annotated[Path | None, typer.Option("--report", help="Write the HTML report to this file.")] = None,
    third: Annotated[
        Path | None, typer.Option("--third", help="Write the rows without a majority to this file, for push --only.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 1 if there are findings.")] = False,
    as_json: Json = False,
) -> None:
    """How far the answers can be trusted: agreement, each person, and what swayed them."""
    from review.agreement import agreement as agreement_of
    from review.agreement import write_report, write_third
    from review.pages import agreement_page
    from review.votes import read_votes

    reviewed = read_votes(labels)
    found = agreement_of(reviewed)
    if report is not None:
        write_report(found, reviewed, report)
    if third is not None:
        write_third(found, third)
    if as_json:
        console.show_json(found)
    else:
        agreement_page(found, [str(one) for one in (report, third) if one is not None])
    if strict and found["findings"]:
        raise typer.Exit(1)


@app.command()
def export(
    labels: Annotated[Path, typer.Argument(help="A dataset of labels.", show_default=False)],
    to: Annotated[str, typer.Option("--to", help="preference or sft.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write the dataset to.", show_default=False)],
    rule: Annotated[
        str, typer.Option("--rule", help="Whom to believe: majority, dawid_skene or bradley_terry.")
    ] = "majority",
    ties: Annotated[
        str, typer.Option("--ties", help="drop; soft: half a vote for each; keep: as good as each other.")
    ] = "drop",
    both_bad: Annotated[
        str, typer.Option("--both-bad", help="drop; edit: keep where somebody wrote a better answer; tie.")
    ] = "edit",
    person_cap: Annotated[
        float | None, typer.Option("--person-cap", help="The largest share of all votes that one person's may weigh.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="Leave out a person, by pseudonym; may be repeated.")
    ] = None,
    min_people: Annotated[int, typer.Option("--min-people", min=1, help="Fewer people decide nothing.")] = 1,
    min_rating: Annotated[
        float, typer.Option("--min-rating", min=1, max=5, help="Form answers: the least mean of every point.")
    ] = 3.0,
    rows: Annotated[
        Path | None, typer.Option("--rows", help="The dataset that was pushed, if it is not where it was.")
    ] = None,
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Turn labels into rows to train on: chosen and rejected answers, or conversations. Nobody's name is in them.

    An answer that somebody edited becomes the chosen one. What is left out is kept in dropped/ with its reason.
    """
    from review.export import Terms
    from review.export import export as export_rows
    from review.pages import exported_page

    terms = Terms(to, rule, ties, both_bad, person_cap, tuple(sorted(set(without or ()))), min_people, min_rating)
    found = export_rows(labels, out, terms, rows=rows, replace=replace)
    if as_json:
        console.show_json(found)
    else:
        exported_page(found)


def main() -> None:
    """Entry point of the `review` command."""
    console.guarded(lambda: app(prog_name="review"))


if __name__ == "__main__":
    main()
