"""What papers ask for beyond the usual: epochs, plateaus, drops, dropout, sampling."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_wsol.data.datasets import load_images
from napari_wsol.errors import ConfigError
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.training.batches import Sampler, sampler_of
from napari_wsol.training.config import TrainConfig
from napari_wsol.training.crops import draw_batch
from napari_wsol.training.images_cache import load_training_images
from napari_wsol.training.initial import load_encoder
from napari_wsol.training.measuring import mean_loss, score_of
from napari_wsol.training.optimizing import Plateau, rate, set_rates
from napari_wsol.training.recipe import dump_recipe, read_recipe
from napari_wsol.training.run import train
from napari_wsol.training.trainer import Trainer

SELECT = 'localization = "valpx"\nclassification = "valcl"'
PLATEAU = 'schedule = "plateau"\nwarmup = 0\nplateau_patience = 0\nstep_factor = 0.2'


def ignore(*_args) -> None:
    pass


def trainer_of(recipe, data) -> Trainer:
    images = load_images(data / "train", classes=recipe.data.classes)
    return Trainer(recipe, load_training_images(images, recipe, ignore))


def test_a_plateau_is_that_of_torch():
    """The same rates for the same losses, whatever the patience."""
    rng = np.random.default_rng(0)
    losses = np.minimum.accumulate(rng.uniform(0.1, 1, 60)) + 0.02 * rng.random(60)
    for patience in (0, 1, 3):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.2, patience=patience, eps=0
        )
        ours = Plateau("loss", patience)
        for loss in losses:
            theirs.step(loss)
            ours.count += ours.look({"loss": float(loss)})
            rate_now = optimizer.param_groups[0]["lr"]
            assert 0.2**ours.count == pytest.approx(rate_now)
        assert ours.count > 0


def test_a_plateau_of_a_score_waits_for_higher_values():
    plateau = Plateau("classification", 1)
    seen = [plateau.look({"classification": x}) for x in (50, 60, 60, 59, 61, 61)]
    assert seen == [False, False, False, True, False, False]
    with pytest.raises(ConfigError, match="not evaluated"):
        plateau.look({"localization": 1.0})


def test_rates_fall_after_a_plateau_and_the_training_ends_at_the_floor(
    discs, make_recipe, tmp_path
):
    """Rates too small to learn anything, so that no loss gets better."""
    recipe = make_recipe(
        data=SELECT,
        train=f'{PLATEAU}\nevaluate_every = 1\nselect = "loss"\naverage = 0.0\n'
        "learning_rate = 1e-20\nhead_learning_rate = 1e-20\nfloor = 5e-22",
    )
    recipe = replace(recipe, train=replace(recipe.train, steps=20))
    seen = []
    card = train(
        recipe, discs, tmp_path, device="cpu",
        say=ignore, step=ignore, evaluated=seen.append,
    )  # fmt: skip
    # The first is the best; 1e-20 falls to 2e-21 after the second, to 4e-22 the third.
    assert [item.step for item in seen] == [1, 2, 3]
    assert card.metrics["selected_by"] == "loss"
    rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
    values = [json.loads(row)["evaluation"] for row in rows if "evaluation" in row]
    assert values == [item.values for item in seen]


def test_a_plateau_is_in_the_checkpoint(discs, make_recipe, tmp_path):
    recipe = make_recipe(data=SELECT, train=f"{PLATEAU}\nevaluate_every = 1")
    first = trainer_of(recipe, discs)
    first.plateau.look({"loss": 1.0})
    first.lower_rates()
    first.save(tmp_path / "checkpoint.pt")
    second = trainer_of(recipe, discs)
    second.load(tmp_path / "checkpoint.pt")
    assert second.plateau == first.plateau
    next(second.run())
    assert second.optimizer.param_groups[0]["lr"] == pytest.approx(0.2e-4)


def test_rates_drop_at_epochs():
    config = TrainConfig(schedule="drops", drops=(2, 5), step_factor=0.1, warmup=0)
    found = [rate(1e-4, config, 0, epoch) for epoch in range(7)]
    assert found == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5, 1e-5, 1e-6, 1e-6])


def test_epochs_are_counted_in_steps(discs, make_recipe, tmp_path):
    text = make_recipe(data=SELECT).text.replace("steps = 4", "epochs = 2")
    path = tmp_path / "epochs.toml"
    path.write_text(text.replace("batch = 2", "batch = 4\nevaluate_epochs = 1"))
    recipe = read_recipe(path)
    seen, steps = [], []
    train(
        recipe, discs, tmp_path / "out", device="cpu",
        say=ignore, step=steps.append, evaluated=seen.append,
    )  # fmt: skip
    assert [item.step for item in steps] == [1, 2, 3, 4]  # six images, four a batch
    assert [item.epoch for item in steps] == [0, 0, 1, 1]
    assert [item.step for item in seen] == [2, 4]
    path.write_text(dump_recipe(recipe))
    assert "\nsteps" not in path.read_text()
    assert read_recipe(path).train == recipe.train


def test_an_epoch_shows_every_image_and_fills_the_last_batch_up():
    sampler = Sampler(torch.arange(10), 4, "epoch", 0)
    assert sampler.epoch == 3
    own = torch.Generator()
    epochs = [
        torch.cat([sampler.order(3 * epoch + step, own) for step in range(3)])
        for epoch in range(2)
    ]
    for order in epochs:
        assert sorted(order[:10].tolist()) == list(range(10))
        assert order[10:].tolist() == order[:2].tolist()
    assert not torch.equal(*epochs)
    few = Sampler(torch.arange(3), 8, "epoch", 0).order(0, own)
    assert len(few) == 8
    assert set(few.tolist()) == {0, 1, 2}


def test_images_of_some_classes_are_shown_more_often(make_recipe):
    recipe = make_recipe(data='enhance = ["striped"]\nenhance_times = 2')
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    sampler = sampler_of(recipe, labels)
    assert sampler.places.tolist() == [0, 1, 1, 1, 2]
    assert sampler_of(make_recipe(), labels).places.tolist() == [0, 1, 2]
    with pytest.raises(ConfigError, match="none of plain, striped"):
        make_recipe(data='enhance = ["spotted"]')


def test_dropout_hides_channels_from_image_heads_alone(discs, make_recipe):
    seeds = '[seeds]\ntap = "features.1"'
    changed = []
    for share in (0.0, 0.9):
        recipe = make_recipe(
            heads='["cam", "pixelcam"]', train=f"dropout = {share}", more=seeds
        )
        changed.append(next(trainer_of(recipe, discs).run()).losses)
    assert changed[0]["pixelcam"] == changed[1]["pixelcam"]
    assert changed[0]["cam"] != changed[1]["cam"]


@pytest.mark.parametrize(
    ("more", "heads"), [("", '["cam"]'), ("tile = 32", '["attention_mil"]')]
)
def test_a_frozen_encoder_stays_as_it_is(discs, make_recipe, more, heads):
    model = f'encoder = "mobilenet_v2"\ntaps = ["features.1"]\n{more}'
    recipe = make_recipe(model=model, heads=heads, train="freeze_encoder = true")
    trainer = trainer_of(recipe, discs)
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    list(trainer.run())
    after = trainer.model.state_dict()
    same = {key for key in before if torch.equal(before[key], after[key])}
    # Statistics of the batches included.
    assert same == {key for key in before if key.startswith("encoder.")}


def test_gradients_can_be_left_as_they_are(discs, make_recipe):
    """A bound of next to nothing stops SGD; none does not."""
    moved = []
    for clip in ("1e-20", "0"):
        recipe = make_recipe(
            train=f'optimizer = "sgd"\nweight_decay = 0\nclip = {clip}'
        )
        trainer = trainer_of(recipe, discs)
        weight = trainer.model.heads["cam"].fc.weight
        before = weight.detach().clone()
        list(trainer.run())
        moved.append(float((weight.detach() - before).abs().max()))
    assert moved[0] < 1e-12
    assert moved[1] > 1e-6


def test_the_loss_of_an_evaluation_is_the_mean_cross_entropy():
    torch.manual_seed(0)
    logits = torch.randn(6, 3, dtype=torch.float64)
    several = torch.randint(2, (6, 3)).double()
    expected = functional.binary_cross_entropy_with_logits(logits, several)
    found = mean_loss(
        logits.sigmoid().tolist(), several.int().tolist(), multi_label=True
    )
    assert found == pytest.approx(float(expected))
    one = torch.randint(3, (6,))
    labels = functional.one_hot(one, 3).tolist()
    found = mean_loss(logits.softmax(1).tolist(), labels, multi_label=False)
    assert found == pytest.approx(float(functional.cross_entropy(logits, one)))
    sure = mean_loss([[0.0, 1.0]], [[1, 0]], multi_label=False)
    assert 16 < sure < 17  # as much as float32 can tell, not infinite
    assert score_of({"loss": 0.5}, "loss") == -0.5
    assert score_of({"loss": 0.5}, "last") is None


def test_rates_of_all_groups_fall_alike():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    optimizer.param_groups[0]["peak"] = 1.0
    config = TrainConfig(schedule="constant", warmup=0, step_factor=0.5)
    set_rates(optimizer, config, 0, 0, plateaus=2)
    assert optimizer.param_groups[0]["lr"] == 0.25


def test_the_first_layer_of_a_grey_encoder_is_summed_over_the_colours():
    torch.manual_seed(0)
    spec = ModelSpec(encoder="resnet18", classes=("a",), taps=("layer1",))
    coloured = Model(spec).eval()
    how = replace(coloured.preprocessing, channels=1, mean=(0.5,), std=(0.25,))
    grey = Model(replace(spec, preprocessing=how)).eval()
    load_encoder(grey, coloured.encoder.state_dict())
    x = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        wanted = coloured.encoder(x.expand(-1, 3, -1, -1)).last
        torch.testing.assert_close(grey.encoder(x).last, wanted)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("epochs = 3", "either steps or epochs"),
        ("evaluate_every = 2\nevaluate_epochs = 1", "either evaluate_every"),
        ('schedule = "drops"', "needs “drops”"),
        ('schedule = "drops"\ndrops = [3, 2]', "rising"),
        ("drops = [3]", "no other"),
        ('schedule = "plateau"', "set evaluate_epochs"),
        ('schedule = "plateau"\nevaluate_every = 2', "name a split"),
        ('schedule = "plateau"\nplateau_by = "colour"', "localization"),
        ("dropout = 1.0", "share"),
        ('sampling = "random"', "batch, epoch"),
        ('select = "loss"\nevaluate_every = 1', "“classification” in"),
    ],
)
def test_options_that_cannot_be_are_refused(make_recipe, lines, words):
    with pytest.raises(ConfigError, match=words):
        make_recipe(train=lines)


def test_batches_drawn_one_by_one_are_those_that_augmentation_draws(discs, make_recipe):
    """So that recipes from before there was a sampler give the same weights."""
    trainer = trainer_of(make_recipe(), discs)
    images = trainer.images
    for seed in range(3):
        first, second = (torch.Generator().manual_seed(seed) for _ in range(2))
        order = sampler_of(trainer.recipe, trainer.labels).order(0, first)
        options = {"size": 2, "crop": 32, "jitter": 0.2}
        given = draw_batch(images, generator=first, order=order, **options)
        drawn = draw_batch(images, generator=second, **options)
        assert torch.equal(given.order, drawn.order)
        assert torch.equal(given.pixels, drawn.pixels)
