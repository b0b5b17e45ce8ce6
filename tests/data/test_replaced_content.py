"""Knock-outs of content: what stands in for features, and for whom."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crossrec.alignment import CrossConfig
from crossrec.alignment.config import DamrsAlignmentConfig
from crossrec.backbones import BACKBONES
from crossrec.data import DataConfig, load, modalities_of
from crossrec.data.corrupt import replace_content, replace_features
from crossrec.errors import DataError
from crossrec.objective import Objective
from crossrec.runs.config import RunConfig
from crossrec.runs.embeddings import TrainedEmbeddings
from crossrec.runs.execute import training_set

TINY = DataConfig(data="synthetic-tiny")


@pytest.fixture
def features():
    draw = np.random.default_rng(5)
    image, text = draw.normal(size=(30, 4)).astype(np.float32), draw.normal(3, 2, size=(30, 3))
    image[:4] = text[2:7] = 0  # items 2 and 3 have neither
    return {"image": image, "text": text}


def test_shuffled_gives_every_item_all_the_content_of_another_one(features):
    shuffled = replace_content(features, "shuffled", 1)
    both, moved = (np.hstack([part["image"], part["text"]]) for part in (features, shuffled))
    with_content = [item for item in range(30) if item not in (2, 3)]
    source = [np.flatnonzero((both == row).all(axis=1)).tolist() for row in moved]
    assert all(len(items) == 1 for item, items in enumerate(source) if item in with_content)
    assert sorted(items[0] for items in (source[item] for item in with_content)) == with_content
    assert all(source[item] != [item] for item in with_content), "nobody keeps its own"
    assert not moved[[2, 3]].any(), "without content as before"
    again, other = (replace_content(features, "shuffled", seed)["text"] for seed in (1, 2))
    assert (again == shuffled["text"]).all()
    assert (other != again).any()


def test_constant_gives_all_items_the_features_of_one(features):
    constant = replace_content(features, "constant", 0)
    for name, matrix in features.items():
        has = matrix.any(axis=1)
        assert (constant[name][has] == constant[name][has][0]).all()
        assert (matrix == constant[name][has][0]).all(axis=1).any()
        assert not constant[name][~has].any()
    drawn = {tuple(replace_content(features, "constant", seed)["text"][0]) for seed in range(20)}
    assert len(drawn) > 5


def test_noise_is_missing_content_of_all_items(features):
    noise, expected = replace_content(features, "noise", 3), replace_features(features, 1.0, 3)
    for name in features:
        assert (noise[name] == expected[name]).all()


@pytest.mark.parametrize("how", ["shuffled", "constant", "noise"])
def test_nothing_to_replace(how):
    with pytest.raises(DataError, match=f"'{how}'.*no features"):
        replace_content({}, how, 0)
    with pytest.raises(DataError, match="alignment_content"):
        load(TINY.model_copy(update={"alignment_content": how, "alignment_modalities": ()}))


@pytest.mark.parametrize("how", ["shuffled", "constant", "noise"])
def test_a_data_set_scales_as_with_its_own_features(how):
    clean, replaced = load(TINY), load(TINY.model_copy(update={"content": how}))
    for name, matrix in replaced.features.items():
        assert np.linalg.norm(matrix, axis=1) == pytest.approx(1, abs=1e-5), "a constant is no missing feature"
        assert (matrix != clean.features[name]).any(axis=1).mean() > 0.95
        assert (replaced.scalers[name].centre_D == clean.scalers[name].centre_D).all()
        if how == "shuffled":
            assert sorted(map(tuple, matrix)) == sorted(map(tuple, clean.features[name]))
    assert replaced.fingerprint() != clean.fingerprint()
    assert replaced.alignment_features is None
    other = load(TINY.model_copy(update={"content": how, "corruption_seed": 1}))
    assert other.fingerprint() != replaced.fingerprint()
    assert (replaced.train.item_N == clean.train.item_N).all()


def test_the_alignment_has_features_of_its_own():
    clean = load(TINY)
    apart = load(TINY.model_copy(update={"alignment_content": "original"}))
    for name, matrix in clean.features.items():
        assert (apart.features[name] == matrix).all()
        assert (apart.alignment_features[name] == matrix).all()
    assert apart.fingerprint() != clean.fingerprint()
    config = TINY.model_copy(update={"content": "shuffled", "alignment_content": "original"})
    swapped = load(config)
    assert (swapped.features["image"] == load(TINY.model_copy(update={"content": "shuffled"})).features["image"]).all()
    assert (swapped.alignment_features["image"] == clean.features["image"]).all()
    split = load(TINY.model_copy(update={"modalities": ("image",), "alignment_modalities": ("text",)}))
    assert (set(split.features), set(split.alignment_features)) == ({"image"}, {"text"})
    assert set(split.all_features) == set(split.scalers) == {"image", "text"}
    with pytest.raises(DataError, match="'txt'; did you mean 'text'"):
        load(TINY.model_copy(update={"alignment_modalities": ("txt",)}))


def test_defaults_name_no_new_run():
    assert not {"content", "alignment_content"} & set(RunConfig().model_dump(exclude_none=True)["data"])
    digests = {
        RunConfig(data=TINY.model_copy(update=update)).digest()
        for update in ({}, {"content": "noise"}, {"alignment_content": "noise"}, {"alignment_modalities": ()})
    }
    assert len(digests) == 4


def test_modalities_without_reading(tmp_path):
    assert modalities_of(TINY) == ["image", "text"]
    assert modalities_of(TINY.model_copy(update={"modalities": ("text",)})) == ["text"]
    (tmp_path / "log.csv").write_text("user,item\na,0\nb,1\n")
    (tmp_path / "sound_feat.npy").write_bytes(b"never read")
    assert modalities_of(DataConfig(data=str(tmp_path))) == ["sound"]
    with pytest.raises(DataError, match="'image'"):
        modalities_of(DataConfig(data=str(tmp_path), modalities=("image",)))


@pytest.mark.parametrize("backbone", ["lightgcn", "vbpr", "freedom"])
def test_the_alignment_projects_its_features_in_place_of_the_backbones_vectors(backbone):
    settings = BACKBONES[backbone].config_type(dim=8)
    dataset = load(TINY.model_copy(update={"alignment_content": "shuffled", "alignment_modalities": ("text",)}))
    objective = Objective(settings, CrossConfig(), training_set(dataset), 0)
    assert objective.cross.modalities == ("id", "text")
    projection = objective.cross.projections["text_feat"]
    assert (projection.feature_matrix.numpy() == dataset.alignment_features["text"]).all()
    reps = objective.propagate()
    handed = objective.for_alignment(reps)
    assert handed.modality_IL == {}
    assert handed.user_UL is reps.user_UL
    plain = Objective(settings, None, training_set(load(TINY)), 0)
    assert all(map(torch.equal, objective.backbone.state_dict().values(), plain.backbone.state_dict().values()))
    config = RunConfig(data=TINY, backbone=settings)
    embeddings = TrainedEmbeddings.from_objective(objective, dataset, config, "x")
    raw = load(TINY.model_copy(update={"feature_scaling": "none"})).features["text"]
    expected = embeddings.project({"text": raw})["text"]
    shuffled = [(row == dataset.features["text"]).all(axis=1).argmax() for row in dataset.alignment_features["text"]]
    torch.testing.assert_close(embeddings.modality_IL["text"], expected[shuffled])


def test_ids_alone_for_the_alignment():
    dataset = load(TINY.model_copy(update={"alignment_modalities": ()}))
    for alignment in (CrossConfig(), DamrsAlignmentConfig()):
        objective = Objective(BACKBONES["freedom"].config_type(dim=8), alignment, training_set(dataset), 0)
        assert objective.cross.modalities == ("id",)
        assert objective.backbone.modalities == ("image", "text")
