"""``compare --published``: printed figures beside the measured ones."""

from __future__ import annotations

import csv
import re
from statistics import fmean

import polars as pl
import pytest
from tests.experiments.fake_runs import TINY, fake_results

from crossrec.alignment import ALIGNMENTS
from crossrec.backbones import BACKBONES
from crossrec.errors import DataError
from crossrec.experiments.analysis.comparison import method_blocks
from crossrec.experiments.analysis.published import PAPER, published_table, read_published
from crossrec.experiments.questions.compare import CompareConfig, cells

HEADER = "data,backbone,alignment,recall@10,ndcg@10\n"


@pytest.fixture
def blocks():
    options = CompareConfig(backbones=("bpr", "lightgcn"), alignments=("none", "cross"), seeds=(0, 1))
    return method_blocks(fake_results(cells(options, TINY), lambda cell: 0.2 + 0.1 * cell.config.training.seed))


def test_the_difference_is_that_of_the_mean_from_the_printed_figure(tmp_path, blocks):
    path = tmp_path / "theirs.csv"
    own = "synthetic-tiny,BPR,CROSS,0.20,\nsynthetic-tiny,LightGCN,none,0.5,0.1\n"
    path.write_text(HEADER + own + "other,bpr,none,1,1\n")
    table = published_table(str(path), "synthetic-tiny", blocks)
    names = [column.name for column in table.columns]
    first, second = (dict(zip(names, row, strict=True)) for row in table.rows)
    assert (first["model"], second["model"]) == ("bpr + cross", "lightgcn")
    assert (first["R@10 measured"], first["R@10 printed"]) == (pytest.approx((0.2, 0.3)), 0.2)
    assert first["R@10 difference %"] == pytest.approx(25)
    assert (first["N@10 printed"], first["N@10 difference %"]) == ("", ""), "not printed"
    assert second["R@10 difference %"] == pytest.approx(-50)
    assert second["N@10 difference %"] == pytest.approx(100 * (0.125 / 0.1 - 1))


def test_the_papers_tables():
    paper = read_published("paper")
    assert {key[0] for key in paper} == {"baby", "sports", "clothing", "tiktok"}
    assert {key[1] for key in paper} <= set(BACKBONES)
    assert {key[2] for key in paper} == {"none", "fettle", "cross"} <= set(ALIGNMENTS)
    assert len(paper) == 4 * 11 * 3
    assert all(set(metrics) == {"recall@10", "recall@20", "ndcg@10", "ndcg@20"} for metrics in paper.values())
    assert paper["baby", "freedom", "cross"]["recall@20"] == 0.1047
    gains = [
        100 * (paper["tiktok", backbone, "cross"]["recall@20"] / paper["tiktok", backbone, "none"]["recall@20"] - 1)
        for backbone in {key[1] for key in paper}
    ]
    assert fmean(gains) == pytest.approx(15.29, abs=0.05), "the average that Section 7.2 prints"
    with PAPER.open(newline="") as file:
        assert len(list(csv.reader(file))) == 133


def test_other_formats_are_read_too(tmp_path):
    row = {"data": ["d"], "backbone": ["bpr"], "alignment": ["none"], "recall@20": [0.5]}
    pl.DataFrame(row).write_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.tsv").write_text("data\tbackbone\talignment\trecall@20\nd\tbpr\tnone\t5e-1\n")
    for name in ("t.parquet", "t.tsv"):
        assert read_published(str(tmp_path / name)) == {("d", "bpr", "none"): {"recall@20": 0.5}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data,backbone,recall@10\nd,bpr,1\n", "no column 'alignment'"),
        (HEADER + "d,bpr,none,x,1\n", "line 2, column 'recall@10': 'x' is no number"),
        (HEADER + "d,bpr,none,1,2\n\nd,BPR,none,3,4\n", "line 4: 'd, bpr, none' has several rows"),
        (
            HEADER + "synthetic-tiny,sgl,cross,1,2\n",
            "these models on the data set 'synthetic-tiny'; it has sgl + cross",
        ),
        (HEADER + "d,bpr,none,1,nan\n", "line 2, column 'ndcg@10': 'nan' is no number"),
        (HEADER + "d,bpr,none,1,2\n", "no figures for the data set 'synthetic-tiny'; it has d"),
        ("", "is empty"),
    ],
)
def test_a_wrong_file_is_refused_before_anything_is_trained(tmp_path, text, message):
    path = tmp_path / "theirs.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=re.escape(message)) as error:
        cells(CompareConfig(backbones=("bpr",), published=str(path)), TINY)
    assert str(path) in str(error.value)


def test_a_missing_file_is_named():
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        cells(CompareConfig(published="nowhere.csv"), TINY)
