"""The kinds of files that a person can touch: sound ones, and who reads them."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from fuzz.mutate import changed_bytes, changed_json, changed_text, changed_value

from napari_wsol import paths

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        group: formats of one group are read by one process.
        make: writes sound files into a folder; gives the one to change, and the path
            to read.
        change: makes other bytes of those of a file.
        read: what the program does with the path.
        files: which files of the folder may be changed; the first by default.
    """

    group: str
    make: Callable[[Path], tuple[Path, Path]]
    change: Callable[[Random, bytes], bytes]
    read: Callable[[Path], object]
    files: str = ""

    def write(self, rng: Random, folder: Path) -> Path:
        """A folder with a changed file; gives the path to read."""
        sound = _sound(self.make)
        shutil.copytree(sound[0], folder, dirs_exist_ok=True)
        file = folder / sound[1]
        if self.files:
            file = rng.choice(
                [item for item in sorted(folder.rglob(self.files)) if item.is_file()]
            )
        file.write_bytes(self.change(rng, file.read_bytes()))
        return folder / sound[2]

    def warm(self, folder: Path) -> None:
        """Reads a sound file, which must be read."""
        sound = _sound(self.make)
        shutil.copytree(sound[0], folder, dirs_exist_ok=True)
        self.read(folder / sound[2])


@cache
def _sound(make: Callable[[Path], tuple[Path, Path]]) -> tuple[Path, Path, Path]:
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="sound-"))
    changed, read = make(folder)
    return folder, changed.relative_to(folder), read.relative_to(folder)


# --- texts -----------------------------------------------------------------------


def _one_file(name: str, content: bytes | str):
    def make(folder: Path) -> tuple[Path, Path]:
        path = folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path, path

    return make


def _pictures(folder: Path, *names: str) -> None:
    from PIL import Image

    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 12), (200, 90, 150)).save(path)


SQUARE = [[2, 2], [12, 2], [12, 12], [2, 12], [2, 2]]
GEOJSON = json.dumps(
    {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [SQUARE]},
                "properties": {"classification": {"name": "Tumor", "color": [1, 2, 3]}},
            },
            {
                "type": "Feature",
                "geometry": {"type": "LineString", "coordinates": [[1, 1], [20, 9]]},
                "properties": {
                    "classification": {"names": ["Normal", "b"]},
                    "width": 4,
                },
            },
            {
                "type": "Feature",
                "geometry": {
                    "type": "GeometryCollection",
                    "geometries": [{"type": "MultiPoint", "coordinates": [[3, 4]]}],
                },
                "properties": {"classification": "Tumor"},
            },
        ],
    }
)


def _asap(kind: str, group: str) -> str:
    places = "".join(
        f'<Coordinate Order="{n}" X="{x}" Y="{y}" />' for n, (x, y) in enumerate(SQUARE)
    )
    return (
        f'<Annotation Name="A" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58">'
        f"<Coordinates>{places}</Coordinates></Annotation>"
    )


ASAP = (
    '<?xml version="1.0"?>\n<ASAP_Annotations><Annotations>'
    + "".join(map(_asap, ("Polygon", "Rectangle", "Dot"), ("Tumor", "_2", "early")))
    + "</Annotations></ASAP_Annotations>"
)


def _zipped(content: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.geojson", content)
    return packed.getvalue()


def _read_geojson(path: Path) -> None:
    from napari_wsol.strokes.annotations import areas_on, draw_annotations
    from napari_wsol.strokes.canvas import Canvas
    from napari_wsol.strokes.classes import UnclearClassesError
    from napari_wsol.strokes.stroke import StrokeList

    shape = (40, 60)
    canvas = Canvas.over(shape)
    try:
        drawn = draw_annotations(path, canvas, shape, progress=lambda *_: None)
    except UnclearClassesError as error:
        chosen = {question.key: 2 for question in error.questions}
        drawn = draw_annotations(
            path, canvas, shape, chosen=chosen, progress=lambda *_: None
        )
    made = drawn.strokes(StrokeList.empty(shape), keep=False)
    assert drawn.imported(made).words
    areas_on(path, shape)


def _make_journal(folder: Path) -> tuple[Path, Path]:
    from journal.painting import image_facts, put, stroke_made

    from napari_wsol.journal import JournalLibrary, RoundMade, StatusChanged
    from napari_wsol.journal.entries import SettingsChanged, Undone

    journal = JournalLibrary(folder).open(image_facts())
    made = RoundMade(index=1, model="m", model_sha256="0", target="t", strokes=(1, 2))
    put(
        journal,
        stroke_made(1),
        stroke_made(2, label=1),
        Undone(number=2),
        made,
        SettingsChanged(values={"threshold": 0.4, "methods": ["cam"]}),
        StatusChanged(status="refined"),
    )
    journal.close()
    (file,) = folder.rglob("journal-*.jsonl")
    return file, folder


def _change_journal(rng: Random, data: bytes) -> bytes:
    """Lines with right checksums and wrong values, or wrong bytes."""
    if rng.random() < 0.3:
        return changed_bytes(rng, data)
    lines = data.splitlines()
    at = rng.randrange(len(lines))
    values = changed_value(rng, json.loads(lines[at][9:]))
    text = json.dumps(values).encode()
    lines[at] = b"%08x %s" % (zlib.crc32(text), text)
    return b"\n".join(lines) + b"\n"


def _read_journal(folder: Path) -> None:
    from journal.painting import image_facts

    from napari_wsol.journal import JournalLibrary
    from napari_wsol.journal.replayed import replayed

    library = JournalLibrary(folder)
    library.summaries()
    journal = library.open(image_facts())
    try:
        assert replayed(journal.image.canvas_shape, journal.entries).strokes
    finally:
        journal.close()


def _make_list(folder: Path) -> tuple[Path, Path]:
    from napari_wsol.worklist.items import WorkList
    from napari_wsol.worklist.saved import remember_list

    _pictures(folder, "in/a.png", "in/b.png")
    worklist = WorkList.of_folder(folder / "in")
    worklist.go_to(1)
    return remember_list(worklist, folder / "lists"), folder


def _read_list(folder: Path) -> None:
    from napari_wsol.worklist.saved import saved_lists
    from napari_wsol.worklist.status import Fingerprints

    for saved in saved_lists(folder / "lists"):
        assert saved.name is not None
        saved.open(folder / "in")
    for file in (folder / "lists").iterdir():
        Fingerprints(file).of(folder / "in/a.png")


def _make_listing(folder: Path) -> tuple[Path, Path]:
    _pictures(folder, "a.png", "b.png")
    path = folder / "list.csv"
    path.write_text("path,set_aside,note\na.png,yes,x\n\"b.png\",,'y'\n")
    return path, path


def _read_listing(path: Path) -> None:
    from napari_wsol.worklist.items import WorkList

    for item in WorkList.of_table(path):
        assert item.path


def _kept(name: str, content: str, read: Callable[[], object]):
    """A file of the user's folder, read where the program keeps it."""

    def read_there(path: Path) -> None:
        place = Path(str(paths.config_folder() / name))
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        read()

    return _one_file(name, content), read_there


def _recall() -> None:
    from napari_wsol.images import known_sizes
    from napari_wsol.images.readers import open_slide

    known_sizes.recall(open_slide(np.zeros((40, 60, 3), np.uint8)))


def _memory() -> None:
    from napari_wsol.preferences import keep, preferences

    assert preferences().memory_bytes > 0
    keep(memory_bytes=3_000_000_000)


SIZES = json.dumps(
    {"version": 1, "slides": {"ab": {"shape": [40, 60], "mpp": 0.5, "said": "2026"}}}
)


@cache
def _recipe() -> str:
    from napari_wsol.training.published import list_published

    return next(item.text for item in list_published() if "pixelcam" in item.text)


def _make_recipe(folder: Path) -> tuple[Path, Path]:
    path = folder / "recipe.toml"
    path.write_text(_recipe(), "utf-8")
    return path, path


def _read_recipe(path: Path) -> None:
    from napari_wsol.training.recipe import dump_recipe, read_recipe
    from napari_wsol.training.run import card_of

    recipe = read_recipe(path)
    dump_recipe(recipe)
    card_of(recipe, {})


def _make_model(folder: Path) -> tuple[Path, Path]:
    import numpy as np
    import torch

    from napari_wsol.methods import Model
    from napari_wsol.methods.appearance import Appearance
    from napari_wsol.methods.card import Card
    from napari_wsol.methods.spec import ModelSpec
    from napari_wsol.zoo import save_model

    torch.manual_seed(0)
    heads, numbers = ("cam", "pcam"), np.random.default_rng(0).normal(size=(20, 8))
    spec = ModelSpec(encoder="mobilenet_v2", classes=("a", "b"), heads=heads, cut=0.3)
    card = Card(
        name="small",
        title="Small",
        summary="A test.",
        spec=spec,
        methods=("cam",),
        primary="cam",
        metrics={"pxap": 0.5},
        appearance=Appearance.of_images(numbers, layer="features.0", of="noise"),
    )
    saved = save_model(Model(spec), card, folder)
    return saved.folder / "card.toml", saved.folder


def _read_card(folder: Path) -> None:
    from napari_wsol.zoo import read_card

    card = read_card(folder)
    assert card.classes
    card.to_dict()
    if card.appearance is not None:
        card.appearance.distance(range(2 * card.appearance.channels))
    assert card.cut_note or card.spec.cut is None


def _read_model(folder: Path) -> None:
    from napari_wsol.zoo import load_model

    load_model(folder, device="cpu")


def _make_table(folder: Path) -> tuple[Path, Path]:
    _pictures(folder, "a.png", "b.png", "a_mask.png")
    path = folder / "labels.csv"
    path.write_text(
        "path,label,split,mask,x,y,w,h\na.png,cat,test,a_mask.png,1,2,3,4\n"
        "b.png,dog|cat,test,,,,,\n"
    )
    return path, folder


def _make_split(folder: Path) -> tuple[Path, Path]:
    _pictures(folder, "a.png", "b.png")
    (folder / "image_ids.txt").write_text("a.png\nb.png\n")
    (folder / "image_sizes.txt").write_text("a.png,16,12\nb.png,16,12\n")
    (folder / "localization.txt").write_text("a.png,1,2,8,9\nb.png,0,0,4,4\n")
    path = folder / "class_labels.txt"
    path.write_text("a.png,0\nb.png,1\n")
    return path, folder


def _read_dataset(folder: Path) -> None:
    from napari_wsol.data.datasets import load_images
    from napari_wsol.evaluation.benchmark.dataset import load_evaluation_set

    images = load_images(folder)
    found = load_evaluation_set(folder, [(folder, None)], classes=images.classes)
    assert found.samples
    for sample in found.samples:
        for box in found.truth.boxes.get(sample.id, ()):
            box.on((12, 16), (12, 16))


RESULT = json.dumps({"image": "a", "status": "ok", "key": "k", "mean": "0.5"})


def _make_results(folder: Path) -> tuple[Path, Path]:
    (folder / "a").mkdir()
    (folder / "a/row.json").write_text(RESULT)
    return folder / "a/row.json", folder


def _read_results(folder: Path) -> None:
    from napari_wsol.batch.results import ResultsFolder

    results = ResultsFolder(folder)
    results.rows()
    results.finished("a", "k")
    results.write_summary()


def _make_claim(folder: Path) -> tuple[Path, Path]:
    from napari_wsol.batch.claims import take

    with take(folder):
        (path,) = folder.glob("claim.*")
        data = path.read_bytes()
    path.write_bytes(data)
    return path, folder


def _read_claim(folder: Path) -> None:
    from napari_wsol.batch.claims import Claim, take

    found = take(folder, 0.0)
    if isinstance(found, Claim):
        found.release()


def _read_plan(path: Path) -> None:
    from napari_wsol.cross_validation.plan import prepare

    prepare(path.parent, {"seed": 1, "folds": [1, 2]}, resume=True)


LOG = (
    '{"step": 1, "losses": {"cam": 0.5}, "accuracy": 0.5}\n'
    '{"step": 1, "evaluation": {"loss": 1.0}, "best": true}\n'
)


def _read_log(path: Path) -> None:
    from napari_wsol.training.run import read_log

    for line in read_log(path):
        assert line.step >= 0


# --- weights ---------------------------------------------------------------------


def _state():
    import torch

    torch.manual_seed(0)
    return {
        "state_dict": {
            "module.a.weight": torch.rand(3, 4),
            "module.b": torch.arange(6).reshape(2, 3).T,
            "module.c": torch.rand(2) > 0.5,
        },
        "epoch": 3,
        "best": np.float64(0.5),
        "all": np.array([1.0, 2.0]),
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "groups": [(1, None)]},
    }


def _torch_file(**how):
    def make(folder: Path) -> tuple[Path, Path]:
        import torch

        path = folder / "model.pt"
        torch.save(_state(), path, **how)
        return path, path

    return make


def _make_safetensors(folder: Path) -> tuple[Path, Path]:
    import safetensors.torch
    import torch

    path = folder / "model.safetensors"
    state = {"a.weight": torch.rand(3, 4), "b": torch.arange(6)}
    safetensors.torch.save_file(state, path, {"format": "pt"})
    return path, path


def _change_pickled(rng: Random, data: bytes) -> bytes:
    """Changes the pickle in a zip and writes the zip anew, so that it is looked at."""
    if rng.random() < 0.2:
        return changed_bytes(rng, data)
    result = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(result, "w") as new,
    ):
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("data.pkl"):
                content = _change_ops(rng, content)
            new.writestr(name, content)
    return result.getvalue()


def _change_ops(rng: Random, data: bytes) -> bytes:
    if rng.random() < 0.5:
        return changed_bytes(rng, data)
    # An opcode that builds something, at a place where the stack may fit.
    at = rng.randrange(len(data))
    harmful = pickle.dumps(_Harmful())[2:-1]
    op = rng.choice(
        [
            harmful,
            b"R",
            b"b",
            b"\x81",
            b"2",
            b"0",
            b"(",
            b"t",
            b"}",
            b"]",
            b"\x93",
            b"cos\nsystem\n",
            b"cnumpy\nndarray\n",
            b"Q",
            b".",
        ]
    )
    return data[:at] + op + data[at:]


class _Harmful:
    """Ends the process when it is built."""

    def __reduce__(self):
        import os

        return (os._exit, (66,))


def _read_state(path: Path) -> None:
    from napari_wsol.checkpoints import read_state

    for tensor in read_state(path).values():
        assert tensor.numel() >= 0
        tensor.sum()


def _read_checkpoint(path: Path) -> None:
    from napari_wsol.zoo import load_model

    load_model(path, device="cpu", answers={"pooling": "PCAM", "backbone": "resnet18"})


def _make_pcam(folder: Path) -> tuple[Path, Path]:
    import torch

    torch.save(
        {"state_dict": {"fc_0.weight": torch.rand(1, 8, 1, 1)}}, folder / "a.ckpt"
    )
    path = folder / "cfg.json"
    path.write_text(
        json.dumps(
            {
                "backbone": "densenet121",
                "width": 64,
                "height": 64,
                "num_classes": [1, 1],
                "global_pool": "PCAM",
                "fc_bn": False,
                "attention_map": "None",
                "norm_type": "BatchNorm",
                "pixel_mean": 128.0,
                "pixel_std": 64.0,
                "lse_gamma": 0.5,
            }
        )
    )
    return path, folder / "a.ckpt"


def _read_settings(path: Path) -> None:
    from napari_wsol.checkpoints import recognise

    recognise(path)


# --- images ----------------------------------------------------------------------


def _colours(shape=(48, 64, 3)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)


def _pillow(name: str, **how):
    def make(folder: Path) -> tuple[Path, Path]:
        from PIL import Image

        path = folder / name
        Image.fromarray(_colours()).save(path, **how)
        return path, path

    return make


def _tiff(name: str, pixels: np.ndarray | None = None, **how):
    def make(folder: Path) -> tuple[Path, Path]:
        import tifffile

        path = folder / name
        tifffile.imwrite(path, _colours() if pixels is None else pixels, **how)
        return path, path

    return make


def _zarr(version: int, **how):
    def make(folder: Path) -> tuple[Path, Path]:
        import zarr

        group = zarr.open_group(folder / "a.zarr", mode="w", zarr_format=version)
        axes = [{"name": "c"}, {"name": "y", "unit": "micrometer"}, {"name": "x"}]
        levels = []
        for index in range(2):
            pixels = np.moveaxis(_colours((96 >> index, 128 >> index, 3)), 2, 0)
            group.create_array(
                str(index), data=pixels.copy(), chunks=(3, 32, 32), **how
            )
            scale = {"type": "scale", "scale": [1, 2.0**index, 2.0**index]}
            levels.append({"path": str(index), "coordinateTransformations": [scale]})
        told = {"multiscales": [{"axes": axes, "datasets": levels, "version": "0.4"}]}
        group.attrs.update(told if version == 2 else {"ome": told})
        name = ".zattrs" if version == 2 else "zarr.json"
        return folder / "a.zarr" / name, folder / "a.zarr"

    return make


def _make_dicom(folder: Path) -> tuple[Path, Path]:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / "a.dcm"
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID = meta.MediaStorageSOPClassUID
    data.SeriesInstanceUID = generate_uid()
    data.Rows, data.Columns = 48, 64
    data.save_as(path, enforce_file_format=True)
    return path, path


def _film(coding: str, **elements: object):
    def make(folder: Path) -> tuple[Path, Path]:
        from fixtures.films import voi_table, write_film

        path = folder / "film"
        grey = _colours((48, 64)).astype(np.uint16) * 16
        table = voi_table(4096, 0, 8, np.arange(4096) // 16)
        told = {"PixelSpacing": [0.1, 0.2], "VOILUTSequence": table, **elements}
        write_film(path, grey, bits=12, kind="MONOCHROME1", coding=coding, **told)
        return path, path

    return make


def _read_image(path: Path) -> None:
    from napari_wsol.images.readers import open_slide

    slide = open_slide(path)
    try:
        for level in range(len(slide.levels)):
            slide.read(level, 0, 0, 64, 64)
        slide.fingerprint()
        for name in slide.associated:
            slide.read_associated(name)
    finally:
        slide.close()


def _refusing(read):
    """Of what is refused when it is sound: a warm-up that may be refused."""
    from napari_wsol.errors import WsolError

    def read_it(path: Path) -> None:
        try:
            read(path)
        except WsolError:
            return

    return read_it


def _change_zarr(rng: Random, data: bytes) -> bytes:
    try:
        json.loads(data)
    except ValueError:
        return changed_bytes(rng, data)
    return changed_json(rng, data)


_SIZES, _READ_SIZES = _kept("known-sizes.json", SIZES, _recall)
_PREFERRED, _READ_PREFERRED = _kept(
    "preferences.json", '{"memory_bytes": 4000000000, "other": [1]}', _memory
)
_PLAN = _one_file("plan.json", '{"seed": 1, "folds": [1, 2], "recipe": "x"}')

FORMATS: dict[str, Format] = {
    "geojson": Format(
        "texts", _one_file("a.geojson", GEOJSON), changed_json, _read_geojson
    ),
    "zipped geojson": Format(
        "texts", _one_file("a.zip", _zipped(GEOJSON)), changed_bytes, _read_geojson
    ),
    "gzipped geojson": Format(
        "texts",
        _one_file("a.geojson.gz", gzip.compress(GEOJSON.encode())),
        changed_bytes,
        _read_geojson,
    ),
    "asap": Format("texts", _one_file("a.xml", ASAP), changed_text, _read_geojson),
    "journal": Format("texts", _make_journal, _change_journal, _read_journal),
    "saved list": Format("texts", _make_list, changed_json, _read_list),
    "listing": Format("texts", _make_listing, changed_text, _read_listing),
    "known sizes": Format("texts", _SIZES, changed_json, _READ_SIZES),
    "preferences": Format("texts", _PREFERRED, changed_json, _READ_PREFERRED),
    "recipe": Format("texts", _make_recipe, changed_text, _read_recipe),
    "card": Format("texts", _make_model, changed_text, _read_card),
    "labels table": Format("texts", _make_table, changed_text, _read_dataset),
    "split folder": Format("texts", _make_split, changed_text, _read_dataset, "*.txt"),
    "results": Format("texts", _make_results, changed_json, _read_results),
    "claim": Format("texts", _make_claim, changed_json, _read_claim),
    "plan": Format("texts", _PLAN, changed_json, _refusing(_read_plan)),
    "training log": Format("texts", _one_file("m.jsonl", LOG), changed_text, _read_log),
    "torch zip": Format("weights", _torch_file(), _change_pickled, _read_state),
    "torch protocol 4": Format(
        "weights", _torch_file(pickle_protocol=4), _change_pickled, _read_state
    ),
    "torch legacy": Format(
        "weights",
        _torch_file(_use_new_zipfile_serialization=False),
        changed_bytes,
        _read_state,
    ),
    "safetensors": Format("weights", _make_safetensors, changed_bytes, _read_state),
    "model folder": Format("weights", _make_model, changed_text, _read_model),
    "settings of PCAM": Format(
        "weights", _make_pcam, changed_json, _refusing(_read_settings)
    ),
    "png": Format("images", _pillow("a.png"), changed_bytes, _read_image),
    "jpeg": Format("images", _pillow("a.jpg"), changed_bytes, _read_image),
    "gif": Format("images", _pillow("a.gif"), changed_bytes, _read_image),
    "bmp": Format("images", _pillow("a.bmp"), changed_bytes, _read_image),
    "webp": Format("images", _pillow("a.webp"), changed_bytes, _read_image),
    "tiff": Format("images", _tiff("a.tif"), changed_bytes, _read_image),
    "tiff deflate": Format(
        "images",
        _tiff("a.tif", compression="deflate", tile=(16, 16)),
        changed_bytes,
        _read_image,
    ),
    "tiff lzw": Format(
        "images",
        _tiff("a.tif", compression="lzw", predictor=True, rowsperstrip=16),
        changed_bytes,
        _read_image,
    ),
    "tiff jpeg": Format(
        "images",
        _tiff("a.tif", compression="jpeg", tile=(16, 16)),
        changed_bytes,
        _read_image,
    ),
    "tiff zstd 16 bit": Format(
        "images",
        _tiff("a.tif", _colours((48, 64)).astype(np.uint16) * 9, compression="zstd"),
        changed_bytes,
        _read_image,
    ),
    "ome tiff": Format(
        "images",
        _tiff("a.ome.tif", metadata={"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}),
        changed_bytes,
        _read_image,
    ),
    "zarr 2": Format("images", _zarr(2), _change_zarr, _read_image, "*"),
    "zarr 3": Format("images", _zarr(3), _change_zarr, _read_image, "*"),
    "zarr shards": Format(
        "images", _zarr(3, shards=(3, 64, 64)), _change_zarr, _read_image, "*"
    ),
    **{
        f"film {coding}": Format(
            "images", _film(coding, **window), changed_bytes, _read_image
        )
        for coding, window in {
            "uncompressed": {"WindowCenter": [9, 90], "WindowWidth": [50, 300]},
            "JPEG-LS": {},
            "JPEG 2000": {"RescaleSlope": 2, "RescaleIntercept": -9},
            "RLE": {},
        }.items()
    },
    "dicom": Format("images", _make_dicom, changed_bytes, _refusing(_read_image)),
}
