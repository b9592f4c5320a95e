"""A finished model gives the seeds of the next."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_wsol.data.datasets import load_images
from napari_wsol.errors import ConfigError, UnknownNameError
from napari_wsol.methods.partial_loss import IGNORE
from napari_wsol.training.crops import ALONE, Batch, Share
from napari_wsol.training.images_cache import load_training_images
from napari_wsol.training.run import train
from napari_wsol.training.seeding import draw_labels
from napari_wsol.training.teachers import smooth, teacher_maps
from napari_wsol.training.trainer import Trainer
from napari_wsol.zoo import load_model

HEADS = '["cam", "pixelcam"]'
EIGEN = '[seeds]\ntap = "features.1"\nfraction = 0.2'


def ignore(*_args) -> None:
    pass


@pytest.fixture
def teacher(discs, make_recipe, tmp_path):
    """Folder of a finished model with both heads."""
    recipe = make_recipe(heads=HEADS, more=EIGEN, name="teacher")
    card = train(recipe, discs, tmp_path / "t", say=ignore, step=ignore, device="cpu")
    return card.folder


def seeds(teacher, lines: str) -> str:
    return f"[seeds]\nmodel = '{teacher}'\n{lines}"


def maps_of(recipe, discs, teacher):
    data = load_images(discs / "train", classes=recipe.data.classes)
    images = load_training_images(data, recipe, ignore)
    return images, teacher_maps(
        load_model(teacher, device="cpu"), images, recipe, ignore
    )


@pytest.mark.parametrize("method", ["cam", "gradcam", "layercam"])
def test_cams_of_the_true_class_are_kept_at_feature_resolution(
    method, discs, make_recipe, teacher
):
    recipe = make_recipe(
        heads=HEADS, more=seeds(teacher, f'seeder = "cam"\nmethod = "{method}"')
    )
    images, maps = maps_of(recipe, discs, teacher)
    assert [item.target for item in maps] == ["plain", "striped"] * 3
    for heatmap in maps:
        assert heatmap.values.shape == (20, 22)
        assert heatmap.values.min() == 0
        assert heatmap.values.max() == pytest.approx(1)
    assert len(images) == len(maps)


@pytest.mark.parametrize(
    "lines",
    [
        'seeder = "cam"',
        'seeder = "cam"\ndraw = { seeder = "probability", foreground = 20 }',
        'seeder = "cam"\nnormal_class = "plain"\n'
        'draw = { seeder = "threshold", erode = 1, normal_images = "background" }',
        'seeder = "self"\nsmooth = 1.5\nfraction = 0.3',
    ],
)
def test_a_second_stage_learns_from_the_first_and_resumes(
    lines, discs, make_recipe, teacher, tmp_path
):
    recipe = make_recipe(heads=HEADS, more=seeds(teacher, lines))
    whole = train(
        recipe, discs, tmp_path / "whole", say=ignore, step=ignore, device="cpu"
    )

    def stop(progress) -> None:
        if progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, discs, tmp_path / "part", say=ignore, step=stop, device="cpu")
    resumed = train(
        recipe,
        discs,
        tmp_path / "part",
        resume=True,
        say=ignore,
        step=ignore,
        device="cpu",
    )
    assert resumed.sha256 == whole.sha256


def test_a_teacher_of_itself_gives_ranks_that_do_not_depend_on_mirroring(
    discs, make_recipe, teacher
):
    recipe = make_recipe(heads=HEADS, more=seeds(teacher, 'seeder = "self"'))
    _, ranks = maps_of(recipe, discs, teacher)
    assert all(item.shape == (40, 44) for item in ranks)
    assert all(item.min() == 0 and item.max() == 1 for item in ranks)
    values = np.random.default_rng(0).random((20, 20)).astype(np.float32)
    assert smooth(values, 0) is values
    assert smooth(values, 2).std() < 0.5 * values.std()


def labels_of(recipe, *, share: Share = ALONE, seed: int = 0) -> torch.Tensor:
    ramp = torch.linspace(0, 1, 32).expand(4, 32, 32)
    truth = torch.tensor([[1.0, 0.0], [0.0, 1.0]] * 2)
    mine = share.of(4)
    batch = Batch(torch.zeros(4, 3, 32, 32), truth[mine], ramp[mine], torch.arange(4))
    return draw_labels(batch, recipe, torch.Generator().manual_seed(seed), share)


def test_seeds_of_a_map_are_drawn_afresh_and_in_parts_as_in_the_whole(make_recipe):
    recipe = make_recipe(
        heads=HEADS,
        more=seeds("m", 'seeder = "cam"\ndraw = { foreground = 6, background = 8 }'),
    )
    whole = labels_of(recipe)
    assert ((whole != IGNORE).sum((1, 2)) > 0).all()
    columns = torch.arange(32).expand(4, 32, 32)
    assert columns[whole == 0].max() < 7  # the lowest fifth of a ramp
    assert not torch.equal(whole, labels_of(recipe, seed=1))
    for rank in (0, 1):
        part = labels_of(recipe, share=Share(rank, 2))
        assert torch.equal(part, whole[2 * rank : 2 * rank + 2])


def test_normal_images_may_have_background_only(make_recipe):
    recipe = make_recipe(
        heads=HEADS,
        more=seeds(
            "m",
            'seeder = "cam"\nnormal_class = "plain"\n'
            'draw = { normal_images = "background" }',
        ),
    )
    whole = labels_of(recipe)
    assert [int((item == 1).sum()) > 0 for item in whole] == [False, True, False, True]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('seeder = "cam"', "model"),
        ('seeder = "cam"\nmodel = "m"\ntap = "features.1"', "does not read “tap”"),
        ('seeder = "cam"\nmodel = "m"\nsmooth = 2', "does not read “smooth”"),
        ('seeder = "self"\nmodel = "m"\nmethod = "gap"', "does not read “method”"),
        ('tap = "features.1"\nmodel = "m"', "does not read “model”"),
        ('tap = "features.1"\ndraw = { area = 0.5 }', "does not read “draw”"),
        ("fraction = 0.1", "name it as “tap”"),
        ('seeder = "cam"\nmodel = "m"\nnormal_class = "plain"', "neither"),
        (
            'seeder = "cam"\nmodel = "m"\nnormal_class = "x"\n'
            'draw = { normal_images = "none" }',
            "none of",
        ),
        ('seeder = "self"\nmodel = "m"\nsmooth = -1', "smoothed"),
        ('seeder = "cam"\nmodel = "m"\ndraw = { colour = 1 }', "unknown entry colour"),
    ],
)
def test_seeds_that_cannot_be_are_refused(make_recipe, lines, words):
    with pytest.raises(ConfigError, match=words):
        make_recipe(heads=HEADS, more=f"[seeds]\n{lines}")


def test_a_teacher_must_have_what_is_read(discs, make_recipe, teacher, tmp_path):
    recipe = make_recipe(heads=HEADS, more=seeds(teacher, 'seeder = "cam"'))
    data = load_images(discs / "train", classes=recipe.data.classes)
    images = load_training_images(data, recipe, ignore)
    with pytest.raises(ConfigError, match="needs one map an image"):
        Trainer(recipe, images)
    other = make_recipe(
        heads=HEADS, more=seeds(teacher, 'seeder = "cam"\nmethod = "pylon"')
    )
    with pytest.raises(ConfigError, match="cannot give seeds by pylon"):
        maps_of(other, discs, teacher)
    missing = make_recipe(heads=HEADS, more=seeds("no-such-model", 'seeder = "cam"'))
    with pytest.raises(UnknownNameError, match="no-such-model"):
        train(missing, discs, tmp_path / "x", say=ignore, step=ignore, device="cpu")
    renamed = replace(
        recipe,
        data=replace(recipe.data, classes=("plain", "dotted")),
        model=replace(recipe.model, classes=("plain", "dotted")),
    )
    with pytest.raises(ConfigError, match="knows no class “dotted”"):
        maps_of(renamed, discs, teacher)


def test_seeds_need_a_pixel_head(make_recipe):
    with pytest.raises(ConfigError, match="no pixelcam head"):
        make_recipe(more=EIGEN)
