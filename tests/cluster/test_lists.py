"""Lists on a Ray cluster: the same as in one process, also where a worker dies, and after a stop."""

from __future__ import annotations

import threading
import time

import numpy as np
import polars as pl
import pytest

from crossrec.recommend import Recommender, blocks
from crossrec.recommend.blocks import write_blocks

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def recommender():
    rng = np.random.default_rng(0)
    pairs = {(f"u{user}", f"i{item}") for user, item in rng.integers(0, (4000, 3000), (20_000, 2)).tolist()}
    frame = pl.DataFrame(sorted(pairs), schema=["user", "item"], orient="row")
    return Recommender.fit(frame, backbone="bpr", alignment="none", epochs=1, device="cpu")


def test_lists_are_those_of_one_process(nodes, recommender, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "CHUNKS", 1)
    monkeypatch.setattr(blocks, "users_per_chunk", lambda items, k: 100)

    def stop(users):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_blocks(recommender, 10, tmp_path, nodes.config, on_block=stop)
    assert 1 <= len(list(tmp_path.glob("*.parquet"))) < 40

    def kill():
        while not nodes.workers():
            time.sleep(0.01)
        nodes.kill_worker()

    killing = threading.Thread(target=kill)
    killing.start()
    paths = write_blocks(recommender, 10, tmp_path, nodes.config)
    killing.join()
    assert len(paths) == -(-len(recommender.users) // 100)
    assert pl.concat([pl.read_parquet(path) for path in paths]).equals(recommender.recommend(k=10))
    assert not list(tmp_path.glob(".*"))
