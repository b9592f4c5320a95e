"""Published data sets, by look-alikes of their layouts with known counts."""

import csv

import numpy as np
import pytest
from PIL import Image

from napari_wsol.data.datasets import listed_in, load_images
from napari_wsol.data.folds import Grouping, split_folds
from napari_wsol.data.published import recognised
from napari_wsol.errors import ConfigError, DatasetError
from napari_wsol.evaluation.truth import load_truth

NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
    "View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)
CHEXPERT_HEADER = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,"
    "Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,"
    "Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
PCAM_CLASSES = (
    *("Cardiomegaly", "Edema", "Consolidation", "Atelectasis"),
    "Pleural Effusion",
)


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"never opened")


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")


# --- NIH ChestX-ray14 ---------------------------------------------------------------


def nih(folder, *, patients=20, lists=True):
    """Two films a patient in two archives; patients from 15 on are the test set."""
    films = [f"{p:08d}_{n:03d}.png" for p in range(patients) for n in (0, 1)]
    for at, film in enumerate(films):
        touch(folder, f"images_{1 + at % 2:03d}/images/{film}")
    findings = ["No Finding", "Infiltration|Mass", "Pleural_Thickening", ""]
    rows = [
        f"{film},{findings[at % 4]},0,{int(film[:8])},058Y,M,PA,2682,2749,0.143,0.143,"
        for at, film in enumerate(films)
    ]
    write(folder / "Data_Entry_2017.csv", NIH_HEADER, *rows)
    write(
        folder / "BBox_List_2017.csv",
        "Image Index,Finding Label,Bbox [x,y,w,h],,,",
        f"{films[33]},Infiltrate,225.1,547.0,86.8,79.2,,,",
        f"{films[33]},Mass,10,20,30,40,,,",
        f"{films[37]},Mass,1,2,3,4,,,",
    )
    if lists:
        write(folder / "train_val_list.txt", *films[:30])
        write(folder / "test_list.txt", *films[30:])
    return films


def test_nih_is_counted_as_published(tmp_path):
    films = nih(tmp_path)
    found = recognised(tmp_path)
    assert found.said == (
        "This is NIH ChestX-ray14: 40 films of 20 patients, 3 boxes on 2 of them."
    )
    assert recognised(tmp_path / "Data_Entry_2017.csv").said == found.said
    data = load_images(tmp_path, "test", classes=["Mass", "Infiltration"])
    assert [item.id for item in data.samples] == films[30:]
    assert data.multi_label
    assert data.samples[0].labels == (0, 0)
    assert data.samples[3].labels == (1, 1)
    assert data.samples[3].path == tmp_path / f"images_002/images/{films[33]}"
    # None for “No Finding” and nothing.
    assert sum(sum(item.labels) for item in found.samples) == 30
    truth = load_truth(tmp_path, "test", [item.id for item in data.samples])
    first, second = truth.boxes[films[33]]
    assert (first.name, second.name) == ("Infiltration", "Mass")
    assert first.xywh == (225.1, 547.0, 86.8, 79.2)
    assert first.on((454, 454), (1024, 1024)) == pytest.approx(first.xywh)
    assert not load_truth(tmp_path, "train", films[:30]).boxes


def test_984_boxes_on_880_films(tmp_path):
    films = [f"{at:08d}_000.png" for at in range(880)]
    touch(tmp_path, *(f"images/{film}" for film in films))
    rows = [f"{film},Mass,0,{at},,,,,,,," for at, film in enumerate(films)]
    write(tmp_path / "Data_Entry_2017.csv", NIH_HEADER, *rows)
    head = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
    boxes = [f"{film},Infiltrate,1.5,2,3,4,,," for film in films + films[:104]]
    write(tmp_path / "BBox_List_2017.csv", head, *boxes)
    assert "880 films of 880 patients, 984 boxes on 880" in recognised(tmp_path).said
    truth = load_truth(tmp_path, None, films)
    assert sum(map(len, truth.boxes.values())) == 984


@pytest.mark.parametrize("lists", [True, False])
def test_pcams_split_is_by_patient_and_seed(tmp_path, lists):
    nih(tmp_path, lists=lists)
    split = {}
    for name in ("train", "val", "test"):
        samples = load_images(tmp_path, f"{name}@pcam").samples
        split[name] = {item.group for item in samples}
        assert len(samples) == 2 * len(split[name])
    # Without the official lists nobody learns from the two patients with boxes.
    assert len(split["test"]) == (5 if lists else 2)
    assert len(split["train"]) == round(0.75 * (20 - len(split["test"])))
    assert not split["train"] & split["val"] | split["test"] & split["train"]
    other = load_images(tmp_path, "train@pcam-7").samples
    assert {item.group for item in other} != split["train"]
    assert load_images(tmp_path, "train@pcam-7").samples == other
    with pytest.raises(DatasetError, match=r"“half” cannot be chosen .*pcam, pcam-N"):
        load_images(tmp_path, "train@half")
    with pytest.raises(DatasetError, match=r"split “dev” .* its splits are"):
        load_images(tmp_path, "dev")


def test_films_that_were_not_downloaded_are_told(tmp_path):
    nih(tmp_path)
    for path in (tmp_path / "images_002" / "images").iterdir():
        path.unlink()
    found = recognised(tmp_path)
    assert "40 films of 20 patients. Only 20 of them are here." in found.said
    assert "boxes" not in found.said
    for path in (tmp_path / "images_001" / "images").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match="None of the films of NIH ChestX-ray14"):
        recognised(tmp_path)


@pytest.mark.parametrize(
    ("table", "line", "message"),
    [
        ("Data_Entry_2017.csv", "a.png,Mas,0,1,1,M,PA,1,1,1,1,", "Line 42.*“Mas”"),
        ("Data_Entry_2017.csv", "a.png", "Line 42 .* has 1 fields"),
        (
            "Data_Entry_2017.csv",
            "00000000_000.png,Mass,0,1,1,M,PA,1,1,1,1,",
            "Line 42 .* is listed twice",
        ),
        ("BBox_List_2017.csv", "00000000_000.png,Mass,1,2,3,,,,", "Line 5 .* no box"),
        ("BBox_List_2017.csv", "00000000_000.png,Mas,1,2,3,4,,,", "Line 5 .*“Mas”"),
    ],
)
def test_first_fault_of_nihs_tables_is_named(tmp_path, table, line, message):
    nih(tmp_path)
    path = tmp_path / table
    path.write_text(f"{path.read_text()}\n{line}")
    with pytest.raises(DatasetError, match=message):
        recognised(tmp_path)


def test_real_films_and_boxes_in_the_published_layout(shared, tmp_path):
    source = shared / "nih14"
    with (source / "labels.csv").open() as file:
        films = list(csv.DictReader(file))
    with (source / "boxes.csv").open() as file:
        boxes = list(csv.DictReader(file))
    (tmp_path / "images").mkdir()
    rows = []
    for film in films:
        names = [key for key, value in film.items() if value == "1"]
        path = source / film["file"]
        (tmp_path / "images" / path.name).symlink_to(path)
        patient = int(film["image"][:8])
        rows.append(f"{film['image']},{'|'.join(names) or 'No Finding'},0,{patient}")
    head = "Image Index,Finding Labels,Follow-up #,Patient ID"
    write(tmp_path / "Data_Entry_2017.csv", head, *rows)
    write(
        tmp_path / "BBox_List_2017.csv",
        "Image Index,Finding Label,Bbox [x,y,w,h],,,",
        *(
            f"{b['image']},{b['class'].replace('Infiltration', 'Infiltrate')},"
            f"{b['x']},{b['y']},{b['w']},{b['h']},,,"
            for b in boxes
        ),
    )
    found = recognised(tmp_path)
    assert len(found.samples) == len(films) == 1047
    assert "496 boxes on 438 of them" in found.said
    assert sum(len(sample.boxes) for sample in found.samples) == 496
    assert {item.id: item.labels for item in load_images(tmp_path).samples} == {
        film["image"]: tuple(int(film[name]) for name in found.layout.classes)
        for film in films
    }
    for sample in found.samples[:20]:
        for box in sample.boxes:
            with Image.open(sample.path) as image:
                x, y, w, h = box.on((image.height, image.width), (224, 224))
            assert 0 <= x < x + w <= 225
            assert 0 <= y < y + h <= 225


# --- CheXpert -----------------------------------------------------------------------


@pytest.fixture
def chexpert(tmp_path):
    root = tmp_path / "CheXpert-v1.0-small"
    views = {
        "train": ["patient1/study1/view1_frontal.jpg", "patient1/study1/view2.jpg"],
        "valid": ["patient9/study1/view1_frontal.jpg"],
    }
    for split, names in views.items():
        touch(root, *(f"{split}/{name}" for name in names))
        rows = [
            f"{root.name}/{split}/{name},Male,68,Frontal,AP,,,1.0,,,-1.0,-1.0,,,0.0,,,,"
            for name in names
        ]
        write(root / f"{split}.csv", CHEXPERT_HEADER, *rows)
    return root


@pytest.mark.parametrize(
    ("split", "wanted"),
    [
        ("train", (1, 1, 0, 0, 0)),
        ("train@pcam", (1, 1, 0, 0, 0)),
        ("train@ones", (1, 1, 1, 0, 0)),
        ("train@zeros", (1, 0, 0, 0, 0)),
    ],
)
def test_uncertain_labels_of_chexpert_follow_a_policy(chexpert, split, wanted):
    data = load_images(chexpert, split, classes=PCAM_CLASSES)
    assert [item.labels for item in data.samples] == [wanted] * 2
    assert data.multi_label
    assert {item.group for item in data.samples} == {"patient1"}


def test_chexpert_is_told_with_its_policy(chexpert):
    said = recognised(chexpert).said
    assert said == (
        "This is CheXpert: 3 films of 2 patients. Uncertain labels are by the policy "
        "“pcam”."
    )
    assert len(load_images(chexpert / "valid.csv").samples) == 1
    # Renamed, as people do.
    moved = chexpert.rename(chexpert.parent / "mine")
    assert len(load_images(moved, "valid").samples) == 1
    table = moved / "train.csv"
    table.write_text(table.read_text().replace(",0.0,", ",maybe,"))
    with pytest.raises(DatasetError, match=r"Line 2 .*“maybe” .* “Pneumothorax”"):
        load_images(moved, "train")


# --- BreakHis, BACH, GlaS -----------------------------------------------------------


@pytest.mark.parametrize("root", ["BreaKHis_v1/BreaKHis_v1/", "BreaKHis_v1/", ""])
def test_breakhis_at_a_magnification(tmp_path, root):
    tree = f"{root}histology_slides/breast"
    names = [
        f"SOB_{kind}_{sort}-14-{slide}-{magnification}-00{n}.png"
        for kind, sort, slide in (("B", "A", "22549AB"), ("M", "DC", "2523"))
        for magnification in (40, 100, 200, 400)
        for n in (1, 2)
    ]
    for name in names:
        kind = "benign" if "_B_" in name else "malignant"
        sort, _, _, magnification, _ = name[6:].split("-")
        touch(tmp_path, f"{tree}/{kind}/SOB/{sort}/x/{magnification}X/{name}")
    touch(tmp_path, f"{tree}/benign/count.png")
    data = load_images(tmp_path, "@200X")
    assert data.classes == ("benign", "malignant")
    assert not data.multi_label
    assert [item.labels for item in data.samples] == [(1, 0)] * 2 + [(0, 1)] * 2
    assert [item.group for item in data.samples[1:3]] == ["14-22549AB", "14-2523"]
    every = recognised(tmp_path).said
    assert "16 images of 2 patients" in every
    with pytest.raises(DatasetError, match="“50X” cannot be chosen"):
        load_images(tmp_path, "@50X")


@pytest.mark.parametrize("inside", ["", "Benign/"])
def test_bachs_headerless_table_lies_beside_the_photos(tmp_path, inside):
    photos = tmp_path / "ICIAR2018_BACH_Challenge" / "Photos"
    touch(photos, f"{inside}b001.tif", "iv001.tif")
    table = photos / "microscopy_ground_truth.csv"
    write(table, "b001.tif,Benign", "iv001.tif,Invasive")
    for place in (tmp_path, photos, table):
        data = load_images(place)
        assert data.classes == ("Normal", "Benign", "InSitu", "Invasive")
        assert [item.labels for item in data.samples] == [(0, 1, 0, 0), (0, 0, 0, 1)]
    assert recognised(tmp_path).said == "This is BACH: 2 photos."
    with pytest.raises(ConfigError, match=r"“b001\.tif” has no group"):
        Grouping().of(data.samples)
    write(table, "b001.tif,Benign", "iv001.tif,Invade")
    with pytest.raises(DatasetError, match=r"Line 2 .*“Invade”"):
        load_images(photos)


@pytest.fixture
def glas(tmp_path):
    folder = tmp_path / "Warwick QU Dataset (Released 2016_07_08)"
    folder.mkdir()
    grades = ["benign", "malignant"]
    names = ["train_1", "train_2", "testA_1", "testA_2", "testB_1"]
    for at, name in enumerate(names):
        Image.new("RGB", (12, 8)).save(folder / f"{name}.bmp")
        mask = np.zeros((8, 12), np.uint8)
        mask[:2, :3], mask[4:6, : at + 1] = 1, 2  # glands are numbered
        Image.fromarray(mask).save(folder / f"{name}_anno.bmp")
    rows = [f"{name},{at // 2}, {grades[at % 2]}, x" for at, name in enumerate(names)]
    head = "name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)"
    write(folder / "Grade.csv", head, *rows)
    return folder


def test_glas_has_its_parts_patients_and_masks(glas):
    found = recognised(glas.parent)
    assert found.said == "This is GlaS: 5 images of 3 patients, masks of 5."
    with pytest.raises(DatasetError, match="its splits are train, testA, testB"):
        load_images(glas, "tests")
    data = load_images(glas, "test", classes=["malignant", "benign"])
    assert [item.id for item in data.samples] == ["testA_1", "testA_2", "testB_1"]
    assert [item.labels for item in data.samples] == [(0, 1), (1, 0), (0, 1)]
    truth = load_truth(glas, "test", [])
    assert list(truth.masks) == ["testA_1", "testA_2", "testB_1"]
    assert truth.masks["testB_1"].mask().sum() == 6 + 2 * 5


def test_patients_of_a_published_data_set_make_the_folds(glas):
    samples = load_images(glas).samples
    groups = Grouping().of(samples)
    assert groups == ["0", "0", "1", "1", "2"]
    folds = split_folds(samples, groups, 2, classes=["benign", "malignant"])
    assert {len(fold.held_out) for fold in folds} == {2, 3}


# --- CAMELYON -----------------------------------------------------------------------


@pytest.fixture
def wilds(tmp_path):
    folder = tmp_path / "camelyon17_v1.0"
    rows, at = [], 0
    for centre, patient in enumerate((4, 20, 45, 66, 80)):
        for tumor, split in ((0, 0), (1, 1)):
            slide = f"patient_{patient:03d}_node_{centre}"
            touch(folder, f"patches/{slide}/patch_{slide}_x_{at}_y_96.png")
            rows.append(
                f"{at},{patient:03d},{centre},{at},96,{tumor},{centre},{centre},{split}"
            )
            at += 1
    head = ",patient,node,x_coord,y_coord,tumor,slide,center,split"
    write(folder / "metadata.csv", head, *rows)
    return folder


def test_patches_of_wilds_by_centre_and_official_split(wilds):
    found = recognised(wilds.parent)
    assert found.said == (
        "This is CAMELYON17 (WILDS): 10 patches of 5 patients from 5 centres."
    )
    splits = ("train", "id_val", "val", "test")
    counts = {name: len(load_images(wilds, name).samples) for name in splits}
    assert counts == {"train": 3, "id_val": 3, "val": 2, "test": 2}
    (first, second) = load_images(wilds, "test", classes=["tumour", "normal"]).samples
    assert (first.labels, second.labels) == ((0, 1), (1, 0))
    assert (first.centre, first.group) == ("2", "patient_045")
    assert len(load_images(wilds, "id_val@centre-3").samples) == 1
    with pytest.raises(DatasetError, match="“centre-9” cannot be chosen"):
        load_images(wilds, "@centre-9")


@pytest.fixture
def folds(tmp_path):
    """The tree of PixelCAM: folds beside the data set of the same name."""
    normal = "camelyon17/w-512xh-512/normal-patches/Patch_file_x-{}.tif_patch_2.png"
    tumor = "camelyon17/w-512xh-512/metastatic-patches/{}/Patch_file.tif_reg_1.png"
    root = tmp_path / "folds" / "wsol-done-right-splits" / "CAMELYON17_512"
    images = tmp_path / "CAMELYON17_512"
    for centre, patient in ((0, 17), (1, 35)):
        slide = f"patient_{patient:03d}_node_4"
        names = [normal.format(slide), tumor.format(slide)]
        mask = names[1].replace("Patch", "mask")
        for name in (*names, mask):
            (images / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (16, 12), 255).save(images / name)
        place = root / f"fold-{centre}" / "test"
        write(place / "image_ids.txt", *names)
        write(place / "class_labels.txt", f"{names[0]},0", f"{names[1]},1")
        write(place / "localization.txt", f"{names[0]},,", f"{names[1]},{mask},")
    return root


def test_split_folders_of_camelyon_have_patients_and_centres(folds):
    paths, said = listed_in(folds)
    assert said == (
        "This is CAMELYON in split folders: 4 patches of 2 patients from 2 centres."
    )
    assert len(set(paths)) == 4
    found = load_images(folds, "fold-1/test", classes=["normal", "tumor"])
    assert "2 patches of 1 patients from 1 centres" in found.said
    samples = found.samples
    assert [item.labels for item in samples] == [(1, 0), (0, 1)]
    assert {(item.group, item.centre) for item in samples} == {("patient_035", "1")}
    # A patch of normal tissue, “image,,”, has nothing outlined, and counts.
    truth = load_truth(folds, "fold-1/test", [item.id for item in samples])
    shares = [item.mask().mean() for item in truth.masks.values()]
    assert shares == [0, 1]


def test_other_folders_are_no_published_data_set(tmp_path):
    touch(tmp_path, "benign/a.png", "malignant/b.png")
    write(tmp_path / "labels.csv", "path,label", "benign/a.png,benign")
    for place in (tmp_path, tmp_path / "labels.csv", tmp_path / "nowhere"):
        assert recognised(place) is None
        assert listed_in(place) == ([], "")
    with pytest.raises(DatasetError, match="no column “split”"):
        load_images(tmp_path, "@200X")
