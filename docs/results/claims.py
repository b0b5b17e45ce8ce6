"""Hold the paper's claims against the tables of this folder: ``python docs/results/claims.py``.

Writes ``claims.csv``, and the same table between their marks in ``README.md`` here and, its six most
important rows only, in that of the repository. No figure is written by hand: each row is made of rows of a table that
a command has written. The answer follows from those rows:

- "beyond chance": in each of the n rows the difference is beyond chance, in the direction that the paper says;
- "beyond chance in k of n": in k of them;
- "in the mean": in none, but the mean of the changes has the direction that the paper says;
- "not found": neither.

"The opposite in k" are rows where the difference is beyond chance, in the other direction. The change is the mean over
the rows of the change in %. p, corrected by Holm, is the largest of the rows that hold beyond chance, and where none
does the smallest of all.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

HERE = Path(__file__).parent
HEADER = ("claim", "printed in the paper", "measured on", "change", "p (Holm)", "holds")


@dataclass(frozen=True)
class Claim:
    """A claim, what the paper prints for it, and which rows of which table answer it.

    ``tables``: names of tables of tests, by the words of the column *measured on*. ``rows``: the values that a row has
    in each column, several ones where each will do. ``main``: the words of those that the first page shows.
    """

    text: str
    printed: str
    tables: dict[str, tuple[str, ...]]
    rows: dict[str, tuple[str, ...]] = field(default_factory=dict)
    main: tuple[str, ...] = ()


ALL = ("compare-tiktok-tests", "compare-tiktok-more-tests")
R20 = ("R@20",)
TIKTOK = "TikTok, FREEDOM and LightGCN"
BABY = "Baby, FREEDOM, one seed"
ONE = {"backbone": ("freedom",)}
POPULAR = ("Tail 1", "Tail 2", "Tail 3", "Tail 4", "Head")

CLAIMS = (
    Claim(
        "CROSS improves every recommender (Tables 2 and 3)",
        "+15.3 % on TikTok, +22.0 % on Baby, Recall@20",
        {"TikTok, eleven backbones": ALL, "Baby, four backbones, one seed": ("compare-baby-tests",)},
        {"compared": ("cross v.s. none",), "metric": R20},
        main=("TikTok, eleven backbones",),
    ),
    Claim(
        "CROSS is better than FETTLE (Tables 2 and 3)",
        "+3.8 to +5.2 %",
        {"TikTok, eleven backbones": ALL, "Baby, four backbones, one seed": ("compare-baby-tests",)},
        {"compared": ("cross v.s. fettle",), "metric": R20},
        main=("TikTok, eleven backbones",),
    ),
    Claim(
        "the item level with dynamic directions (ILDA) alone improves FREEDOM (Figure 6)",
        "+3.7 % on Baby, Recall@10",
        {TIKTOK: ("ablate-tests",), BABY: ("ablate-baby-tests",)},
        {"compared": ("ILDA v.s. none",)},
    ),
    Claim(
        "neighbours (CNA) alone, and clusters (CLA) alone, improve FREEDOM (Figure 6)",
        "+3.5 and +0.3 % on Baby",
        {TIKTOK: ("ablate-tests",), BABY: ("ablate-baby-tests",)},
        {"compared": ("CNA v.s. none", "CLA v.s. none")},
    ),
    Claim(
        "direction tuning (DT) lifts the other three together (Figure 6)",
        "+4.3 % on Baby",
        {TIKTOK: ("ablate-tests",), BABY: ("ablate-baby-tests",)},
        {"compared": ("ILDA&DT&CNA&CLA v.s. ILDA&CNA&CLA",)},
    ),
    Claim(
        "dynamic directions are better than one-way ones (Figure 7)",
        "+12.1 against +7.9 %, Recall@10",
        {TIKTOK: ("directions-tests",), "TikTok, VBPR, one seed": ("directions-vbpr-tests",)},
        {"compared": ("dynamic v.s. one_way",)},
        main=(TIKTOK,),
    ),
    Claim(
        "one-way directions are better than bidirectional ones (Figure 7)",
        "+7.9 against +1.9 %",
        {TIKTOK: ("directions-tests",), "TikTok, VBPR, one seed": ("directions-vbpr-tests",)},
        {"compared": ("one_way v.s. bidirectional",)},
    ),
    Claim(
        "ILDA helps FREEDOM where 20 to 80 % of the content is missing (Figure 8)",
        ".0559 to .0576 on Baby, Recall@10",
        {"TikTok, FREEDOM": ("robustness-missing-tests",)},
        {**ONE, "compared": ("ILDA v.s. backbone alone",), "noise": ("20 %", "40 %", "60 %", "80 %")},
    ),
    Claim(
        "CROSS helps where 5 to 20 % of the clicks are false (Figure 8)",
        ".0640 on Baby, above FREEDOM",
        {TIKTOK: ("robustness-clicks-tests",)},
        {"compared": ("CROSS v.s. backbone alone",), "noise": ("5 %", "10 %", "15 %", "20 %")},
        main=(TIKTOK,),
    ),
    Claim(
        "and more than FETTLE does, thanks to the neighbours (Figure 8)",
        "+1.9 % on Baby",
        {TIKTOK: ("robustness-clicks-tests",)},
        {"compared": ("CROSS v.s. FETTLE",), "noise": ("5 %", "10 %", "15 %", "20 %")},
    ),
    Claim(
        "neighbours and clusters help items of every popularity (Figure 10)",
        "+3.5 to +36.1 % on Baby, Recall@10",
        {TIKTOK: ("popularity-tests",)},
        {"compared": ("CNA&CLA v.s. none",), "items": POPULAR},
    ),
    Claim(
        "the rarest fifth of the items gains most (Figure 10)",
        "+36.1 % on Baby, head +3.8 %",
        {TIKTOK: ("popularity-tests",)},
        {"compared": ("CNA&CLA v.s. none",), "items": ("Tail 1",)},
    ),
    Claim(
        "CROSS is above FREEDOM at nearly all weights α, β, γ from 1e-5 to 0.1 (Figure 11)",
        "+2.1 to +9.6 % but for β, γ = 0.1",
        {"TikTok, FREEDOM": ("sensitivity-freedom-tests",)},
        {"setting": ("α", "β", "γ"), "compared with": ("backbone alone",)},
    ),
    Claim(
        "CROSS is above FREEDOM at all λ_f, λ_c, λ_n and K (Figure 11)",
        "at least +5.8 %",
        {"TikTok, FREEDOM": ("sensitivity-freedom-tests", "sensitivity-lambda_c-freedom-tests")},
        {"setting": ("λ_f", "λ_c", "λ_n", "K"), "compared with": ("backbone alone",)},
    ),
    Claim(
        "beyond the paper: PRIME improves recommenders, with one setting",
        "",
        {
            "TikTok, five backbones": ("prime-tiktok-tests",),
            "TikTok, nine backbones with settings of their own, one seed": ("prime-tiktok-tuned-tests",),
            "Baby, three backbones": ("prime-baby-tests",),
            "Baby, VBPR, SGL and DirectAU, one seed": ("prime-baby-more-tests",),
            "Sports, two backbones, one seed": ("prime-sports-tests",),
            "MovieLens, two backbones": ("prime-ml1m-tests",),
        },
        {"compared": ("prime v.s. none",), "metric": R20},
        main=("TikTok, five backbones", "Baby, three backbones"),
    ),
    Claim(
        "beyond the paper: PRIME is better than CROSS, both with their defaults",
        "",
        {"Baby, four backbones, one seed": ("compare-baby-tests",)},
        {"compared": ("prime v.s. cross",), "metric": R20},
    ),
)


def main() -> None:
    rows = [row for claim in CLAIMS for row in answers(claim, claim.tables)]
    shown = [row for claim in CLAIMS for row in answers(claim, claim.main)]
    with open(HERE / "claims.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADER, *rows])
    _between_marks(HERE / "README.md", markdown(rows, ""))
    _between_marks(HERE.parents[1] / "README.md", markdown(shown, "docs/results/"))


def answers(claim: Claim, measured_on: Iterable[str]) -> list[tuple[str, ...]]:
    """A row of the table for each of ``measured_on``, words of the claim's tables."""
    result = []
    for words in measured_on:
        names = claim.tables[words]
        tests = [row for name in names for row in _tests(name) if _fits(row, claim.rows)]
        if not tests:
            raise ValueError(f"no row of {', '.join(names)} fits '{claim.text}'")
        changes = [float(row["new"]) / float(row["base"]) - 1 for row in tests if float(row["base"])]
        lower = sum(row["verdict"] == "lower" for row in tests)
        held = [float(row["p (Holm)"]) for row in tests if row["verdict"] == "higher"]
        p = max(held) if held else min(float(row["p (Holm)"]) for row in tests)
        links = ", ".join(f"[{words if not k else 'more'}]({name}.md)" for k, name in enumerate(names))
        change = f"{100 * fmean(changes):+.1f} %" if changes else "–"
        result.append(
            (claim.text, claim.printed, links, change, f"{p:.2g}", _answer(len(tests), changes, len(held), lower))
        )
    return result


def _answer(count: int, changes: list[float], higher: int, lower: int) -> str:
    if higher == count:
        return "**beyond chance**"
    if higher:
        answer = f"beyond chance in {higher} of {count}"
    else:
        answer = "in the mean" if changes and fmean(changes) > 0 else "not found"
    return f"{answer}; the opposite in {lower}" if lower else answer


def _tests(name: str) -> list[dict[str, str]]:
    with open(HERE / f"{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _fits(row: dict[str, str], wanted: dict[str, tuple[str, ...]]) -> bool:
    return all(row.get(column) in values for column, values in wanted.items())


def markdown(rows: list[tuple[str, ...]], folder: str) -> str:
    """The table in Markdown, its links below ``folder``."""
    lines = [" | ".join(HEADER), ":-- | :-- | :-- | --: | --: | :--", *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines).replace("](", f"]({folder}")


def _between_marks(path: Path, table: str) -> None:
    """Put the table between the lines ``<!-- claims -->`` and ``<!-- end of claims -->`` of a page."""
    text = path.read_text(encoding="utf-8")
    before, rest = text.split("<!-- claims -->\n")
    _, after = rest.split("<!-- end of claims -->\n")
    path.write_text(
        f"{before}<!-- claims -->\n{table}\n<!-- end of claims -->\n{after}", encoding="utf-8", newline="\n"
    )


if __name__ == "__main__":
    main()
