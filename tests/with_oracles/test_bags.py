"""Our bags, read by torchmil as those of TRIDENT and of CLAM."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from PIL import Image

from napari_wsol.slides.bag_maker import make_bag, tile_model

pytestmark = pytest.mark.oracles


def test_torchmil_reads_our_bags_as_those_of_trident(tmp_path, section, small_model):
    torchmil = pytest.importorskip("torchmil.datasets")
    path = tmp_path / "section.png"
    Image.fromarray(section).save(path)
    model = tile_model(small_model, mpp=0.5, tile=64)
    bag = make_bag(path, model, tmp_path / "out", mpp=0.5)
    labels = tmp_path / "labels.csv"
    labels.write_text("slide,label\nsection.png,1\n")
    found = torchmil.TridentWSIDataset(
        base_path=f"{tmp_path}/out/20x_64px_0px_overlap/",
        labels_path=str(labels),
        feature_extractor="mobilenet_v2",
        bag_keys=["X", "Y"],
        wsi_name_col="slide",
        wsi_label_col="label",
    )
    assert len(found) == 1
    with h5py.File(bag) as file:
        assert np.array_equal(found[0]["X"].numpy(), file["features"][:])
    assert found[0]["Y"].tolist() == [1]
