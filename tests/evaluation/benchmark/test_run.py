"""A tiny model measured on generated data sets; the same figures by hand."""

import io
import json
from contextlib import closing

import numpy as np
import pytest
import torch
from PIL import Image

from napari_wsol.config import FigureConfig
from napari_wsol.errors import ConfigError, DatasetError, JobCancelledError
from napari_wsol.evaluation import (
    accuracy,
    insertion_deletion,
    iobb,
    iou,
    max_box_acc,
    point_localization,
    pxap,
    region_localization,
    roc_auc,
)
from napari_wsol.evaluation.benchmark import Benchmark, EvaluationConfig
from napari_wsol.evaluation.report import chosen_cases
from napari_wsol.evaluation.sanity import drawn_anew, rank_correlation
from napari_wsol.export.figure import Sheet, panels_of
from napari_wsol.images.preprocessing import Preprocessing
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.view import ModelView
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import Model, ModelSpec

QUICK = EvaluationConfig(bootstrap=20)


def evaluate_model(*arguments, **options):
    return Benchmark(*arguments, **options).run()


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def images():
    """Six noisy images with a bright square each, and its mask."""
    rng = np.random.default_rng(1)
    found = []
    for k in range(6):
        pixels = rng.integers(60, 120, (64 + 8 * k, 80, 3)).astype(np.uint8)
        mask = np.zeros(pixels.shape[:2], bool)
        mask[16 : 40 + k, 20:50] = True
        pixels[mask] += 100
        found.append((pixels, mask))
    return found


@pytest.fixture
def split(images, tmp_path):
    """valpx with masks of all but the last image, and valcl with one image."""
    for k, (pixels, mask) in enumerate(images):
        for kind, array in (("images", pixels), ("masks", mask.astype(np.uint8))):
            path = tmp_path / kind / f"{k}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(array).save(path)
    for name, places in (("valpx", range(5)), ("valcl", [5])):
        folder = tmp_path / name
        write(folder / "image_ids.txt", *(f"images/{k}.png" for k in places))
        write(
            folder / "class_labels.txt",
            *(f"images/{k}.png,{k % 2}" for k in places),
        )
    lines = (f"images/{k}.png,masks/{k}.png" for k in range(4))
    write(tmp_path / "valpx" / "localization.txt", *lines)
    return tmp_path


def by_hand(model, images, places):
    """Maps of the true class on the images' own pixels."""
    return [localize(model, images[k][0], target=model.classes[k % 2]) for k in places]


def test_own_pixels_give_the_figures_of_the_functions(split, images, small_model):
    config = EvaluationConfig(bootstrap=20, size=None, threshold=0.4)
    found = evaluate_model(small_model, split, "valpx", config=config)
    assert (found.kind, found.images, found.references) == ("masks", 5, 4)
    assert {item.name for item in found.methods} == {"cam", "pcam", "pixelcam"}
    places = range(4)
    results = by_hand(small_model, images, places)
    masks = [images[k][1] for k in places]
    for item in found.methods:
        maps = [result.heatmaps[item.name] for result in results]
        wanted = [iou(a, b, threshold=0.4) for a, b in zip(maps, masks, strict=True)]
        assert item.figures["pxap"].value == pytest.approx(pxap(maps, masks))
        assert item.figures["image_iou"].value == pytest.approx(np.mean(wanted))
        overlaps = [case.overlap.get(item.name) for case in found.cases]
        assert overlaps == [pytest.approx(value) for value in wanted] + [None]
    everything = by_hand(small_model, images, range(5))
    scores = [list(result.scores.values()) for result in everything]
    labels = [0, 1, 0, 1, 0]
    value = found.classification["accuracy"].value
    assert value == pytest.approx(accuracy(scores, labels))
    auc = roc_auc(np.array(scores)[:, 1], labels)
    assert found.auc["bright"].value == pytest.approx(auc)


def test_the_field_compares_at_224_pixels(split, images, small_model):
    found = evaluate_model(small_model, split, "valpx", ["cam"], config=QUICK)
    maps, masks = [], []
    for k, result in enumerate(by_hand(small_model, images, range(4))):
        maps.append(result.heatmaps["cam"].resized((224, 224)))
        picture = Image.fromarray(images[k][1]).resize((224, 224), 0)
        masks.append(np.asarray(picture))
    assert found.methods[0].figures["pxap"].value == pytest.approx(pxap(maps, masks))


def test_maps_of_the_predicted_class_on_request(split, images, small_model):
    config = EvaluationConfig(bootstrap=0, size=None, target="predicted")
    found = evaluate_model(small_model, split, "valpx", ["cam"], config=config)
    assert all(case.target == case.predicted for case in found.cases)
    maps = [
        localize(small_model, images[k][0], ["cam"]).heatmaps["cam"] for k in range(4)
    ]
    wanted = pxap(maps, [images[k][1] for k in range(4)])
    assert found.methods[0].figures["pxap"].value == pytest.approx(wanted)
    assert "predicted class" in found.notes[0]


def test_maps_and_classes_are_those_of_the_average_on_request(
    split, images, small_model
):
    config = EvaluationConfig(bootstrap=0, size=None, views=4)
    found = evaluate_model(small_model, split, "valpx", ["cam"], config=config)
    names = [case.target for case in found.cases]
    each = [
        localize(small_model, images[k][0], ["cam"], names[k], views=4)
        for k in range(4)
    ]
    wanted = pxap(
        [one.heatmaps["cam"] for one in each], [images[k][1] for k in range(4)]
    )
    assert found.methods[0].figures["pxap"].value == pytest.approx(wanted)
    for case, one in zip(found.cases[:4], each, strict=True):
        assert case.probability == pytest.approx(one.scores[case.target], abs=1e-6)
    assert found.settings["views"] == 4
    assert any("4 views" in note for note in found.notes)
    with pytest.raises(ConfigError, match="4 or of 12"):
        evaluate_model(small_model, split, "valpx", config=EvaluationConfig(views=2))


def test_several_splits_are_measured_together(split, small_model):
    both = evaluate_model(small_model, split, ["valpx", "valcl"], ["cam"], config=QUICK)
    assert both.images == 6
    assert both.splits == ("valpx", "valcl")
    with pytest.raises(DatasetError, match="in several of the splits"):
        evaluate_model(small_model, split, ["valpx", "valpx"], ["cam"])


def test_labels_alone_give_classification_only(split, small_model):
    found = evaluate_model(small_model, split, "valcl", config=QUICK)
    assert found.kind == "labels"
    assert not found.methods[0].figures
    assert list(found.classification) == ["accuracy"]
    assert "labels of whole images only" in found.to_markdown()


def test_folder_for_each_class(images, tmp_path, small_model):
    for k, (pixels, _) in enumerate(images):
        path = tmp_path / ("bright" if k % 2 else "dark") / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    found = evaluate_model(small_model, tmp_path, config=QUICK)
    assert found.images == 6
    assert set(found.auc) == {"dark", "bright"}


def test_faithfulness_needs_no_mask(split, small_model):
    config = EvaluationConfig(bootstrap=0, faithfulness_steps=3)
    found = evaluate_model(small_model, split, "valcl", ["cam"], config=config)
    figures = found.methods[0].figures
    assert set(figures) == {"insertion", "deletion"}
    assert 0 <= figures["insertion"].value <= 1


def test_faithfulness_is_measured_on_what_the_model_sees(split, images):
    spec = ModelSpec(
        encoder="mobilenet_v2",
        classes=("dark", "bright"),
        heads=("cam",),
        taps=("features.3",),
        preprocessing=Preprocessing(size=64),
    )
    torch.manual_seed(0)
    model = Model(spec).eval()
    config = EvaluationConfig(bootstrap=0, faithfulness_steps=4)
    found = evaluate_model(model, split, "valcl", ["cam"], config=config)
    image, target = images[5][0], "bright"  # 104 × 80 pixels, seen at 64 × 64

    def probability(batch):
        with torch.no_grad():
            features = model.encoder(torch.from_numpy(batch))
            return model.probabilities(features)[:, 1].numpy()

    seen = ModelView(open_slide(image), model).pixels()[0].numpy()
    heatmap = localize(model, image, ["cam"], target).heatmaps["cam"]
    wanted = insertion_deletion(probability, seen, heatmap.resized((64, 64)), steps=4)
    figures = found.methods[0].figures
    assert figures["insertion"].value == pytest.approx(wanted.insertion)
    assert figures["deletion"].value == pytest.approx(wanted.deletion)


def test_trust_is_the_mean_over_images_and_of_the_config_alone(split, small_model):
    config = EvaluationConfig(bootstrap=0, sanity=True, seed=2)
    methods = ["cam", "pixelcam"]
    found = evaluate_model(small_model, split, "valpx", methods, config=config)
    again = evaluate_model(small_model, split, "valpx", methods, config=config)
    assert found == again
    other = drawn_anew(small_model, "encoder", 2)
    values = []
    for case in found.cases:
        image = split / "images" / case.id.rpartition("/")[2]
        one, two = (
            localize(model, image, ["cam"], case.target).heatmaps["cam"].values
            for model in (small_model, other)
        )
        values.append(rank_correlation(one, two))
    assert found.methods[0].sanity["encoder"] == pytest.approx(np.mean(values))
    assert set(found.methods[0].figures) >= {"pxap", "sanity_heads"}
    assert "road" not in found.methods[0].figures


# --- several labels, boxes ---------------------------------------------------------


@pytest.fixture
def films(images, tmp_path):
    """Images of several classes; boxes in a frame of twice the size."""
    folder = tmp_path / "films"
    folder.mkdir()
    rows, boxes = [], []
    for k, (pixels, _) in enumerate(images):
        Image.fromarray(pixels[:64]).save(folder / f"{k}.jpg")
        rows.append(f"{k}.png,{k}.jpg,{k % 2},1")
        boxes.append(f"{k}.png,Nodule,40,32,60,48")
        boxes.append(f"{k}.png,Hernia,0,0,9,9")
        if k % 2:
            boxes.append(f"{k}.png,Mass,0,0,20,20")
    write(folder / "labels.csv", "image,path,Mass,Nodule", *rows)
    write(folder / "boxes.csv", "image,class,x,y,w,h", *boxes)
    return folder


@pytest.fixture(scope="module")
def chest_model():
    torch.manual_seed(0)
    spec = ModelSpec(
        encoder="mobilenet_v2",
        classes=("Mass", "Nodule"),
        heads=("pcam",),
        taps=("features.3",),
        multi_label=True,
    )
    return Model(spec).eval()


def test_every_class_with_a_box_is_compared(films, chest_model):
    config = EvaluationConfig(
        bootstrap=20, size=None, box_frame=(128, 160), region_threshold=0.5
    )
    found = evaluate_model(chest_model, films, config=config)
    assert (found.kind, found.references) == ("boxes", 9)
    assert "accuracy" not in found.classification
    assert set(found.auc) == {"Mass"}  # all images have a nodule
    assert "6 of 15 boxes are of classes" in found.notes[0]
    maps, boxes, classes = [], [], []
    for k in range(6):
        given = {"Nodule": [20, 16, 30, 24]} | (
            {"Mass": [0, 0, 10, 10]} if k % 2 else {}
        )
        for name, box in given.items():
            result = localize(chest_model, films / f"{k}.jpg", target=name)
            maps.append(result.heatmaps["pcam"])
            boxes.append(box)
            classes.append(name)
    (item,) = found.methods
    point = point_localization(maps, boxes, classes=classes)
    assert item.figures["point_localization"].value == pytest.approx(point.macro)
    assert item.per_class["point_localization"] == point.per_class
    value = item.figures["iobb_0.25"].value
    assert value == iobb(maps, boxes, classes=classes, threshold=0.25).macro
    region = region_localization(maps, boxes, classes=classes, threshold=0.5)
    assert item.figures["region_iobb_0.5"].value == region.macro
    wrong = item.figures["region_false_positives"].value
    assert wrong == pytest.approx(region.macro_false_positives)
    rows = [[box[0], box[1], box[2] - 1, box[3] - 1] for box in boxes]
    largest = max_box_acc(maps, rows, ious=(0.5,), all_contours=False)
    assert item.figures["max_box_acc"].value == pytest.approx(largest.mean)
    assert item.figures["max_box_acc_v2"].value == max_box_acc(maps, rows).mean
    assert "pointing_game" in item.figures
    text = found.to_markdown()
    assert "| Point localization (PYLON) | " in text
    assert "| Nodule (6) | " in text


def test_boxes_of_another_frame_are_noticed(films, chest_model):
    with pytest.raises(DatasetError, match=r"boxes\.csv.*outside.*frame"):
        evaluate_model(chest_model, films)


@pytest.mark.slow
def test_the_picture_shows_three_cases(films, split, chest_model, small_model):
    config = EvaluationConfig(bootstrap=0, box_frame=(128, 160), size=64)
    for benchmark, cases in (
        (Benchmark(chest_model, films, config=config), 3),
        (Benchmark(small_model, split, "valpx", config=QUICK), 3),
        (Benchmark(small_model, split, "valcl", config=QUICK), 1),
    ):
        result = benchmark.run()
        chosen = chosen_cases(result.cases, benchmark.primary)
        assert [name for name, _ in chosen] == ["worst", "median", "best"][:cases]
        with Image.open(io.BytesIO(benchmark.picture(result))) as picture:
            pixels = np.asarray(picture)[..., :3]
        # Above the first case's image, below its map; outlined where that is known.
        side = Sheet(2 * cases, FigureConfig(columns=cases)).panel
        path = next(
            x.path for x in benchmark.measured.samples if x.id == chosen[0][1].id
        )
        with closing(open_slide(path)) as slide:
            image = panels_of(slide, [], side)[0].image
        assert pixels.shape[0] > 2 * image.shape[0]
        top = first_row(pixels[:120, :side])
        seen = pixels[top : top + len(image), :side]
        is_plain = np.array_equal(seen, image)
        assert is_plain == (result.kind == "labels")
        assert (seen == image).mean() > 0.9
        below = pixels[top + len(image) :, :side]
        assert (
            np.ptp(below.astype(int), axis=2) > 60
        ).mean() > 0.05  # colours of a map


def first_row(strip):
    """The first one that is no paper and no words, but an image."""
    filled = (strip != 255).any(2).mean(1)
    return int(np.flatnonzero(filled > 0.9)[0])


# --- what is refused ----------------------------------------------------------------


def test_a_model_of_one_class_an_image_cannot_take_several(films, small_model):
    write(films / "labels.csv", "path,dark,bright", "0.jpg,1,1", "1.jpg,1,0")
    (films / "boxes.csv").unlink()
    with pytest.raises(DatasetError, match="Choose a multi-label model"):
        evaluate_model(small_model, films)


def test_predicted_class_of_several_is_refused(films, chest_model):
    with pytest.raises(ConfigError, match="Leave out the target"):
        evaluate_model(chest_model, films, config=EvaluationConfig(target="predicted"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 1.2},
        {"target": "both"},
        {"size": 0},
        {"faithfulness_steps": -1},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError):
        EvaluationConfig(**wrong)


def test_it_can_be_stopped_and_says_where_it_is(split, small_model):
    steps = []

    def check():
        if len(steps) > 2:
            raise JobCancelledError("stopped")

    with pytest.raises(JobCancelledError):
        Benchmark(small_model, split, "valpx").run(lambda *a: steps.append(a), check)
    assert steps[:2] == [(0, 5, "images/0.png"), (1, 5, "images/1.png")]


def test_json_holds_everything(split, small_model):
    found = evaluate_model(small_model, split, "valpx", ["cam"], config=QUICK)
    stored = json.loads(found.to_json())
    assert stored["format"] == "napari-wsol evaluation 1"
    assert stored["settings"]["threshold"] == 0.5
    assert stored["data"] == split.name
    assert len(stored["cases"]) == 5
    low = stored["methods"][0]["figures"]["pxap"]["low"]
    assert low == found.methods[0].figures["pxap"].low


@pytest.mark.parametrize(
    "parts",
    [
        {"encoder": "amil_cnn", "heads": ("attention_mil",), "tile": 28},
        {"encoder": "mobilenet_v2", "heads": ("cam",), "taps": ("features.3",),
         "preprocessing": Preprocessing(size=64, fit="pad")},
    ],
)  # fmt: skip
def test_bags_and_padded_inputs_are_measured_too(split, parts):
    model = Model(ModelSpec(classes=("dark", "bright"), **parts)).eval()
    config = EvaluationConfig(bootstrap=0, faithfulness_steps=2)
    found = evaluate_model(model, split, "valpx", config=config)
    flips = {"flipping", "flipping_random"} if "tile" in parts else set()
    for item in found.methods:
        assert {"pxap", "insertion", "deletion"} | flips <= set(item.figures)
        assert flips == {key for key in item.figures if key.startswith("flip")}
        both = (item.figures[key].value for key in ("insertion", "deletion"))
        assert all(0 <= value <= 1 for value in both)
    if flips:
        drawn = {item.figures["flipping_random"].value for item in found.methods}
        assert len(found.methods) == 3
        assert len(drawn) == 1
        assert "| … of tiles in a random order |" in found.to_markdown()


def test_a_model_that_does_not_classify_has_maps_only(split):
    spec = ModelSpec(
        encoder="mobilenet_v2", classes=("a", "b"), heads=(), taps=("features.3",)
    )
    found = evaluate_model(Model(spec).eval(), split, "valpx", config=QUICK)
    assert not found.classification
    assert found.methods[0].name == "eigencam"
    assert "pxap" in found.methods[0].figures
