"""How data sets are published: what each is known by, and how its lists are read.

- NIH ChestX-ray14 (Wang et al., CVPR 2017, arXiv 1705.02315): 112,120 films of 30,805
  patients, and 984 boxes on 880 of them, drawn in the 1024 x 1024 pixels of the files.
- CheXpert (Irvin et al., AAAI 2019, arXiv 1901.07031): labels are 1, 0, blank (0), and
  -1 (uncertain), which a named policy turns into 0 or 1.
- BreakHis, Kaggle's archive (Spanhol et al., IEEE TBME 2016): 7,909 images of 82
  patients. SOB_B_TA-14-4659-40-001.png is benign, of the patient 14-4659, at 40X.
- BACH (Aresta et al., MedIA 2019): photos, and beside them a table without a header.
- GlaS (Sirinukunwattana et al., MedIA 2017): 85 images to train, 60 of test A and 20 of
  test B, of 16 patients. The masks number the glands; all of them count.
- CAMELYON17 of WILDS (Koh et al., ICML 2021): 455,954 patches of 96 pixels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.data.split_files import (
    FLAGS,
    SUFFIXES,
    Box,
    Sample,
    flag_of,
    one_hot,
    read_fields,
    rows_below,
    sides_of,
    twice,
)
from napari_wsol.errors import DatasetError
from napari_wsol.files import is_file
from napari_wsol.files.tables import columns_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from napari_wsol.data.split_files import Row

MISSING = Path()
"""Instead of an image that is listed and not here."""

NIH = (
    *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule"),
    *("Pneumonia", "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis"),
    *("Pleural_Thickening", "Hernia"),
)
CHEXPERT = (
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion"),
    *("Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax"),
    *("Pleural Effusion", "Pleural Other", "Fracture", "Support Devices"),
)
POLICIES = {"pcam": ("Edema", "Atelectasis"), "ones": CHEXPERT, "zeros": ()}
"""Classes of CheXpert whose -1 is 1, of the others it is 0; PCAM's authors' first."""
BACH = ("Normal", "Benign", "InSitu", "Invasive")
TUMOUR = ("benign", "malignant")

_NIH_LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}
_BREAKHIS = re.compile(r"[A-Z]+_([BM])_[A-Z]+-(\d+-\w+)-(\d+)-\d+\.png", re.ASCII)
_PATIENT = re.compile(r"patient\d+", re.ASCII)
_FOREIGN = {"1": "val", "2": "test"}
"""Centres that WILDS trains on none of: one to validate, one to test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A way a data set is published.

    Attributes:
        title: the data set's name.
        noun: what its images are: "films", "images", "patches".
        classes: names, in the order of the labels.
        within: where in a folder its tables, or the folder of its images, may be.
        knows: whether what is there is one of them.
        read: lists the images of one of them; told the choice, which may be empty.
        multi_label: whether an image may have none or several of the classes.
        choices: what may be chosen, the first by default where one must be; N stands
            for a number.
        note: what must be said of the choice.
    """

    title: str
    noun: str
    classes: tuple[str, ...]
    within: tuple[str, ...] = ("*.csv",)
    knows: Callable[[Path], bool]
    read: Callable[[Path, str], Iterable[Sample]]
    multi_label: bool = False
    choices: tuple[str, ...] = ()
    note: str = ""

    def find(self, place: Path) -> list[Path]:
        """What it is known by in a folder, or the table itself; none of another one."""
        named = [place] if place.suffix.lower() == ".csv" else []
        inside = [path for at in self.within for path in sorted(place.glob(at))]
        return list(filter(self.knows, inside if place.is_dir() else named))


def class_at(where: str, name: str, classes: tuple[str, ...]) -> int:
    """The number of a class, whatever tables write differently in its name.

    Raises:
        DatasetError: there is no such class; says where it stands.
    """
    names = list(map(_plain, classes))
    if _plain(name) not in names:
        raise DatasetError(
            f"{where}: “{name}” is none of the classes {', '.join(classes)}."
        )
    return names.index(_plain(name))


def _plain(name: str) -> str:
    return name.strip().casefold().replace("_", " ").replace("tumour", "tumor")


def _headed(*columns: str) -> Callable[[Path], bool]:
    return lambda path: set(columns) <= set(columns_of(path))


def _rows(path: Path, key: str | None, header: Iterable[str] = ()) -> list[Row]:
    """The rows of a table, each of another image; unnamed empty cells left out."""
    lines = read_fields(path)
    head = list(header) or lines.pop(0)[1]
    width = max(at for at, name in enumerate(head, 1) if name)
    own = [(at, [*row[:width], *filter(None, row[width:])]) for at, row in lines]
    rows, seen = rows_below(head[:width], own), set[str]()
    for where, row in rows:
        name = row[key] if key else where
        if name in seen:
            raise twice(where, name)
        seen.add(name)
    return rows


def _images(folders: Iterable[Path]) -> dict[str, Path]:
    """The images right in these folders, by their names without an ending."""
    inside = (
        path for folder in folders if folder.is_dir() for path in folder.iterdir()
    )
    return {path.stem: path for path in inside if path.suffix.lower() in SUFFIXES}


def _read_nih(table: Path, choice: str) -> list[Sample]:
    folder = table.parent
    # As unpacked: images/, or images_001/images/ to images_012/images/.
    here = _images([folder, *folder.glob("images*"), *folder.glob("images*/images")])
    lists = [path for path in map(folder.joinpath, _NIH_LISTS) if path.is_file()]
    split = {row[0]: _NIH_LISTS[x.name] for x in lists for _, row in read_fields(x)}
    boxes, films = _boxes_of_nih(folder), list[Sample]()
    for where, row in _rows(table, "Image Index"):
        name, told = row["Image Index"], row["Finding Labels"].split("|")
        found = (x for x in told if _plain(x) not in ("", "no finding"))
        at = {class_at(where, x, NIH) for x in found}
        film = Sample(
            path=here.get(name.rpartition(".")[0], MISSING),
            labels=tuple(int(index in at) for index in range(len(NIH))),
            id=name,
            group=row["Patient ID"],
            split=split.get(name, ""),
            boxes=tuple(boxes.get(name, ())),
        )
        films.append(film)
    return _dealt(films, int(choice[5:] or 0)) if choice else films


def _boxes_of_nih(folder: Path) -> dict[str, list[Box]]:
    """Their header, “Bbox [x,y,w,h],,,”, has commas in a name: read by places."""
    is_list, found = _headed("Image Index", "Finding Label"), dict[str, list[Box]]()
    for table in filter(is_list, sorted(folder.glob("*.csv"))):
        for where, (name, *cells) in read_fields(table)[1:]:
            sides = sides_of(cells[1:5], where)
            kind = class_at(where, cells[0].replace("Infiltrate", "Infiltration"), NIH)
            box = Box(xywh=sides, name=NIH[kind], frame=(1024, 1024), where=where)
            found.setdefault(name, []).append(box)
    return found


def _dealt(films: list[Sample], seed: int) -> list[Sample]:
    """PCAM's split: 75 % of the patients outside the test set teach, 25 % validate.

    Patients with boxes, who are of the official test set, test without its list too.
    """
    test = {film.group for film in films if film.split == "test" or film.boxes}
    patients = sorted({film.group for film in films} - test)
    np.random.default_rng(seed).shuffle(patients)
    cut = round(0.75 * len(patients))
    split = dict.fromkeys(patients[:cut], "train") | dict.fromkeys(test, "test")
    return [replace(film, split=split.get(film.group, "val")) for film in films]


def _read_chexpert(table: Path, choice: str) -> Iterator[Sample]:
    ones, folder = POLICIES[choice or "pcam"], table.parent
    flags = {x: FLAGS | dict.fromkeys(("-1", "-1.0"), int(x in ones)) for x in CHEXPERT}
    for where, row in _rows(table, "Path"):
        name = row["Path"]
        # Listed from the folder above: “CheXpert-v1.0-small/train/patient00001/…”.
        tried = (folder.parent / name, folder / name.partition("/")[2], folder / name)
        yield Sample(
            path=next(filter(is_file, tried), MISSING),
            labels=tuple(flag_of(where, row, *item) for item in flags.items()),
            id=name,
            group=(*_PATIENT.findall(name), "")[0],
            split=table.stem,
        )


def _read_breakhis(tree: Path, choice: str) -> Iterator[Sample]:
    for path in sorted(tree.rglob("*.png")):
        found = _BREAKHIS.fullmatch(path.name)
        if found and choice in ("", f"{found[3]}X"):
            labels, name = one_hot("BM".index(found[1]), 2), path.relative_to(tree)
            yield Sample(path=path, labels=labels, id=name.as_posix(), group=found[2])


def _read_bach(table: Path, _choice: str) -> Iterator[Sample]:
    here = _images([table.parent, *map(table.parent.joinpath, BACH)])
    for where, row in _rows(table, "photo", ("photo", "class")):
        path = here.get(row["photo"].rpartition(".")[0], MISSING)
        labels = one_hot(class_at(where, row["class"], BACH), len(BACH))
        yield Sample(path=path, labels=labels, id=row["photo"])


def _read_glas(table: Path, _choice: str) -> Iterator[Sample]:
    here = _images([table.parent])
    for where, row in _rows(table, "name"):
        name, mask = row["name"], f"{row['name']}_anno"
        yield Sample(
            path=here.get(name, MISSING),
            labels=one_hot(class_at(where, row["grade (GlaS)"], TUMOUR), 2),
            id=name,
            group=row["patient ID"],
            split=name.partition("_")[0],
            masks=(here[mask],) if mask in here else (),
        )


def _read_wilds(table: Path, choice: str) -> Iterator[Sample]:
    here = _images((table.parent / "patches").glob("*"))
    for where, row in _rows(table, None):
        patient, centre = f"patient_{row['patient'].zfill(3)}", row["center"]
        slide = f"{patient}_node_{row['node']}"
        name = f"patch_{slide}_x_{row['x_coord']}_y_{row['y_coord']}"
        tumor, split = (flag_of(where, row, x) for x in ("tumor", "split"))
        if choice in ("", f"centre-{centre}"):
            yield Sample(
                path=here.get(name, MISSING),
                labels=(1 - tumor, tumor),
                id=f"patches/{slide}/{name}.png",
                group=patient,
                centre=centre,
                split=_FOREIGN.get(centre, ("train", "id_val")[split]),
            )


LAYOUTS = (
    Layout(
        title="NIH ChestX-ray14",
        noun="films",
        classes=NIH,
        knows=_headed("Image Index", "Finding Labels", "Patient ID"),
        read=_read_nih,
        multi_label=True,
        choices=("pcam", "pcam-N"),
    ),
    Layout(
        title="CheXpert",
        noun="films",
        classes=CHEXPERT,
        knows=_headed("Path", *CHEXPERT),
        read=_read_chexpert,
        multi_label=True,
        choices=tuple(POLICIES),
        note="Uncertain labels are by the policy “{choice}”.",
    ),
    Layout(
        title="BreakHis",
        noun="images",
        classes=TUMOUR,
        within=tuple(f"{'BreaKHis_v1/' * n}histology_slides/breast" for n in (2, 1, 0)),
        knows=Path.is_dir,
        read=_read_breakhis,
        choices=("40X", "100X", "200X", "400X"),
    ),
    Layout(
        title="BACH",
        noun="photos",
        classes=BACH,
        within=("*.csv", "Photos/*.csv", "ICIAR2018_BACH_Challenge/Photos/*.csv"),
        knows=lambda path: columns_of(path)[1:] in [[name] for name in BACH],
        read=_read_bach,
    ),
    Layout(
        title="GlaS",
        noun="images",
        classes=TUMOUR,
        within=("*.csv", "Warwick*QU*/*.csv"),
        knows=_headed("name", "patient ID", "grade (GlaS)"),
        read=_read_glas,
    ),
    Layout(
        title="CAMELYON17 (WILDS)",
        noun="patches",
        classes=("normal", "tumor"),
        within=("*.csv", "camelyon17_v*/*.csv"),
        knows=_headed(
            "patient", "node", "x_coord", "y_coord", "tumor", "center", "split"
        ),
        read=_read_wilds,
        choices=tuple(f"centre-{number}" for number in range(5)),
    ),
)
