"""Our heads of MIL, their evidence and bags beside torchmil and captum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fixtures.bags import grid_corners, mil_model, write_h5

from napari_wsol.methods import Head, get_method
from napari_wsol.methods.mil import as_bag, read_bag

pytestmark = pytest.mark.oracles

WIDTH = 10


def build(head, classes=("no", "yes"), **options):
    return mil_model(WIDTH, head, classes, seed=2, tile=256, **options)


def vectors(count=15, seed=3):
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def copied(pairs):
    """Weights of layers into others'; softmax does not see the bias of the scores."""
    with torch.no_grad():
        for ours, lazy in pairs:
            theirs = getattr(lazy, "module", lazy)
            theirs.weight.copy_(ours.weight)
            if theirs.bias is not None:
                theirs.bias.copy_(ours.bias)


@pytest.mark.parametrize("gated", [False, True])
def test_attention_and_logit_are_those_of_torchmil(gated):
    from torchmil.models import ABMIL

    model = build("attention_mil", binary=True, gated=gated, hidden=7)
    head, x = model.classifier, vectors()
    theirs = ABMIL((WIDTH,), att_dim=7, gated=gated).eval()
    pool = theirs.pool
    if gated:
        first, second = head.attention_V[0], head.attention_U[0]
        copied([(first, pool.fc1), (second, pool.fc_gated)])
        copied([(head.attention_weights, pool.fc2)])
    else:
        copied([(head.attention[0], pool.fc1), (head.attention[2], pool.fc2)])
    copied([(head.classifier[0], theirs.classifier)])
    with torch.inference_mode():
        logit, scores = theirs(x[None], return_att=True)
        reading = read_bag(model, lambda: x.split(4))
    assert float(reading.logits[0]) == pytest.approx(float(logit), abs=1e-5)
    wanted = scores[0].softmax(0)
    found = reading.values("attention_mil", model, 1)
    torch.testing.assert_close(found, wanted / wanted.max(), atol=1e-5, rtol=0)
    alone = reading.values("mil_tile", model, 1)
    with torch.inference_mode():
        torch.testing.assert_close(alone, theirs(x[:, None]), atol=1e-5, rtol=0)


class TileLoss(torch.nn.CrossEntropyLoss):
    """As torchmil calls it: labels are real numbers in a column."""

    def forward(self, logits, truth):
        return super().forward(logits, truth[:, 0].long())


@pytest.mark.parametrize("label", [0, 1])
def test_clams_logit_and_loss_are_those_of_torchmil(label):
    from torchmil.models import CLAM_SB

    model = build("clam_sb", embedding=8, hidden=6, instances=4)
    head, x = model.classifier, vectors()
    first, gate = head.attention_net[0], head.attention_net[3]
    theirs = CLAM_SB(
        (WIDTH,),
        att_dim=6,
        k_sample=4,
        gated=True,
        feat_ext=torch.nn.Sequential(torch.nn.Linear(WIDTH, 8), torch.nn.ReLU()),
    ).eval()
    copied([(first, theirs.feat_ext[0]), (gate.attention_a[0], theirs.pool.fc1)])
    copied([(gate.attention_b[0], theirs.pool.fc_gated)])
    copied([(gate.attention_c, theirs.pool.fc2)])
    copied(zip(head.instance_classifiers, theirs.inst_classifiers, strict=True))
    with torch.no_grad():  # one logit, of “yes” against “no”
        weight, bias = head.classifiers.weight, head.classifiers.bias
        last = theirs.classifier.module
        last.weight.copy_(weight[1:] - weight[:1])
        last.bias.copy_(bias[1:] - bias[:1])
    # Their own loss of tiles is an SVM's; CLAM's default is the cross-entropy.
    theirs.inst_loss_fn = TileLoss()
    with torch.inference_mode():
        logit, scores, embedded = theirs(x[None], return_att=True, return_emb=True)
        loss = theirs.compute_inst_loss(scores, embedded, torch.tensor([label]))
        reading = read_bag(model, lambda: [x])
        found = head.instance_loss(x, label)
    found_logit = float(reading.logits[1] - reading.logits[0])
    assert found_logit == pytest.approx(float(logit), abs=1e-5)
    total = float(reading.values("mil_evidence", model, 1).sum())
    assert total + reading.bias_of(model, 1) == pytest.approx(float(logit), abs=1e-5)
    # They add the two classes up, CLAM's code takes the mean.
    assert float(found) == pytest.approx(float(loss) / 2, abs=1e-5)


class DeepMil(Head):
    """As of a plugin: a network behind the pooling, so that no tile has a part."""

    def __init__(self, channels, classes):
        super().__init__()
        self.attention = torch.nn.Linear(channels, 1)
        self.last = torch.nn.Sequential(
            torch.nn.Linear(channels, 6), torch.nn.GELU(), torch.nn.Linear(6, classes)
        )

    def forward(self, features):
        cells = features.last.flatten(2).transpose(1, 2)
        weights = self.attention(cells.tanh()).softmax(1)
        return self.last((weights * cells).sum(1))


def test_integrated_gradients_are_those_of_captum():
    from captum.attr import IntegratedGradients

    model, x = build("max_mil", ("a", "b", "c")), vectors()
    model = model.with_head("max_mil", DeepMil(WIDTH, 3))
    head = model.classifier
    assert get_method("mil_evidence").unavailable(model) is None
    with torch.inference_mode():
        reading = read_bag(model, lambda: x.split(4))
    theirs = IntegratedGradients(
        lambda bags: torch.cat([head(as_bag(bag)) for bag in bags])
    )
    for target in range(3):
        wanted = theirs.attribute(
            x[None], target=target, n_steps=64, method="gausslegendre"
        )
        of_tiles = wanted[0].sum(1).detach().float()
        found = reading.parts[:, target]
        assert float(of_tiles.abs().max()) > 1e-2
        torch.testing.assert_close(found, of_tiles, atol=1e-5, rtol=0)
        # Completeness: together they are what the bag adds to one of zeros.
        with torch.inference_mode():
            empty = float(head(as_bag(torch.zeros_like(x)))[0, target])
        assert float(reading.bias[target]) == pytest.approx(empty, abs=1e-4)


@pytest.mark.parametrize("head", ["attention_mil", "clam_sb", "mean_mil"])
def test_evidence_is_the_gradient_times_the_input_of_the_pooled_vector(head):
    """With the attention held, integrated gradients of a linear classifier are it."""
    from captum.attr import IntegratedGradients

    model, x = build(head, ("a", "b", "c")), vectors()
    own = model.classifier
    with torch.no_grad():
        embedded = own.embed(x)
        weights = own.weigh(own.scores(embedded))
    with torch.inference_mode():
        reading = read_bag(model, lambda: [x])

    def logits(bags):
        return own.parts(bags, weights[None]).sum(1) + own.bias()

    for target in range(3):
        wanted = IntegratedGradients(logits).attribute(
            embedded[None], target=target, n_steps=8
        )
        found = reading.parts[:, target]
        torch.testing.assert_close(found, wanted[0].sum(1).float(), atol=1e-5, rtol=0)


def test_torchmil_opens_our_bags(tmp_path):
    from torchmil.datasets import TridentWSIDataset

    rng, root = np.random.default_rng(0), tmp_path / "20x_256px_0px_overlap"
    wanted = {}
    for name in ("one", "two"):
        found = rng.normal(size=(6, WIDTH)).astype(np.float32)
        wanted[name] = found
        write_h5(root / "features_uni" / f"{name}.h5", found, grid_corners(2, 3))
        write_h5(root / "patches" / f"{name}_patches.h5", found, grid_corners(2, 3))
    (tmp_path / "labels.csv").write_text("slide,label\none,0\ntwo,1\n")
    dataset = TridentWSIDataset(
        base_path=f"{root}/",
        labels_path=str(tmp_path / "labels.csv"),
        feature_extractor="uni",
        bag_keys=["X", "Y", "coords"],
        patch_size=512,
        wsi_name_col="slide",
        wsi_label_col="label",
    )
    assert len(dataset) == 2
    for place, name in enumerate(sorted(wanted)):
        bag = dataset[place]
        np.testing.assert_array_equal(bag["X"].numpy(), wanted[name])
        np.testing.assert_array_equal(bag["coords"].numpy(), grid_corners(2, 3, 1))
        assert int(bag["Y"]) == place
