"""One process at a time makes a feature file; a killed one is succeeded at once."""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest

from crossrec.errors import ConfigError
from crossrec.features import FeaturesConfig, encode_features
from crossrec.features.ledger import DIGEST, EncodedBatch, Mark
from crossrec.features.store import FeatureStore

ENCODE = """
import sys; from pathlib import Path; import numpy as np
from crossrec.features import FeaturesConfig, encode_features
from crossrec.features.ledger import DIGEST, EncodedBatch, Mark
from crossrec.features.store import FeatureStore
store = FeatureStore(Path(sys.argv[1]), "key", np.array([b"a", b"b"], DIGEST), "float32")
with store.lock():
    store.begin(3)
    store.put(EncodedBatch(np.array([0]), np.ones((1, 3)), np.array([Mark.DONE])))
    store.save()
    print("saved", flush=True)
    input()
"""


def test_two_processes(tmp_path):
    path = tmp_path / "text_feat.npy"
    command = [sys.executable, "-c", ENCODE, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "saved\n"
        store = FeatureStore(path, "key", np.array([b"a", b"b"], DIGEST), "float32")
        with pytest.raises(ConfigError, match=r"text_feat.npy is being made by another process"), store.lock():
            pytest.fail("two at a time")
        process.send_signal(signal.SIGKILL)
    with store.lock():
        assert store.begin(3).tolist() == [1], "what the killed one saved is used"
        store.put(EncodedBatch(np.array([1]), np.ones((1, 3)), np.array([Mark.DONE])))
        texts = dict.fromkeys(("modality", "model", "model_digest", "rule", "created"), "")
        store.finish(**texts, counts={}, sources=(), settings={}, revision=None, versions={})
    assert np.load(path).tolist() == [[1.0] * 3] * 2
    assert sorted(file.name for file in (tmp_path / ".text_feat").iterdir()) == ["ledger.npy"]


def test_a_file_that_was_not_begun_leaves_no_folder(tmp_path):
    with FeatureStore(tmp_path / "text_feat.npy", "key", np.array([b"a"], DIGEST), "float32").lock():
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_second_command_is_refused_and_touches_nothing(shop, bert):
    def snapshot():
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in shop.rglob("*")}

    config = FeaturesConfig(data=str(shop), text=("title",), text_model=str(bert), device="cpu")
    seen = []

    def meanwhile(*progress):
        before = snapshot()
        with pytest.raises(ConfigError, match=r"text_feat.npy is being made by another process"):
            encode_features(config)
        assert snapshot() == before
        seen.append(progress)

    encode_features(config, meanwhile)
    assert len(seen) > 1
    assert sorted(file.name for file in (shop / ".text_feat").iterdir()) == ["ledger.npy"]
