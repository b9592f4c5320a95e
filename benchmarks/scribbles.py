"""How many strokes it takes: a simulated annotator corrects maps of known images.

    python benchmarks/scribbles.py --data FOLD --robot robot_annotator.py
        [--split valcl] [--images N] [--rounds 10] [--threads 2] [--blind-start]
        [--global-only] [--set NAME=VALUE] [--no-forest] [--no-uneven] [--out FILE]
        [--ood FOLDER]

``FOLD`` is a folder of split files with masks; the robot is a Python file with
``next_scribbles(truth, prediction, scribbles)`` and ``intersection_over_union``. In
each round it draws one foreground and one background stroke where the thresholded map
(at 0.5) is most wrong, and the session that the window uses refines on all strokes so
far. The first strokes correct the unrefined map; with ``--blind-start`` they are drawn
without any. ``--set edges=guided`` chooses a setting of the refinement. Beside it, a
random forest on classical filters (scikit-learn and scikit-image) learns in a loop of
its own: its strokes correct its own maps, the first ones are always drawn blind, as it
knows nothing before.

A second table tells of strokes that are not even: of background only, on the largest
region that the map finds wrongly; of foreground only, on the largest that it misses;
and ten of foreground beside one of background; each in three rounds. Beside the IoU it
has the share of pixels that turned wrong, of those that were right before the first
stroke and are farther than 150 pixels from any stroke.

Printed are means over the images: the IoU of each round as a Markdown table, the worst
image, and seconds a round (median; features cached). ``--ood`` writes what strokes do
on a section with another stain (brown counts as foreground), round by round.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from skimage import color, data, feature, filters, io

from napari_wsol import Session
from napari_wsol.config import FinetuneConfig
from napari_wsol.evaluation.references import load_references

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]
    Strokes = npt.NDArray[np.uint8]
    Refine = Callable[[Strokes], npt.NDArray[np.floating]]

NOT_DRAWN = 255
"""The robot's value for pixels without a stroke; 0 is background, 1 foreground."""

THRESHOLD = 0.5
UNEVEN = {
    "background only": (0, 1),
    "foreground only": (1, 0),
    "ten foreground, one background": (10, 1),
}
"""Strokes of foreground and background in each round."""

UNEVEN_ROUNDS = 3
FAR = 150
"""Pixels from any stroke, from which on a map should stay as it is."""
APART = 12
"""Pixels around a stroke that others of the same round leave alone."""

ORANGE, BLUE = (230, 159, 0), (0, 114, 178)
"""Foreground and background, as in the window."""


@dataclass(slots=True)
class Run:
    """What one learner did on one image: IoU before and after each round.

    ``turned`` is the share of right pixels far from any stroke that became wrong.
    """

    iou: list[float] = field(default_factory=list[float])
    seconds: list[float] = field(default_factory=list[float])
    turned: list[float] = field(default_factory=list[float])


def load_robot(path: Path) -> ModuleType:
    """The annotator, from a file that is not part of any package."""
    spec = importlib.util.spec_from_file_location("robot", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is no Python file.")
    robot = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(robot)
    return robot


def settings_of(options: argparse.Namespace) -> FinetuneConfig:
    """The settings of the refinement that were asked for."""
    values: dict[str, Any] = {"local": not options.global_only, "others": 0.0}
    for pair in options.set:
        name, _, text = pair.partition("=")
        if name not in FinetuneConfig.__dataclass_fields__:
            raise SystemExit(f"There is no setting “{name}”.")
        kind = type(getattr(FinetuneConfig(), name))
        values[name] = text.lower() == "true" if kind is bool else kind(text)
    return FinetuneConfig(**values)


class Ours:
    """The session's path from strokes to the map, on one image."""

    name = "ours"

    def __init__(
        self,
        source: Path | npt.NDArray[np.uint8],
        options: argparse.Namespace,
    ) -> None:
        self.session = Session(threads=options.threads, journals=False)
        self.session.open(source, name="image").result()
        self.session.use(options.model).result()
        self.session.localize(["pixelcam"]).result()
        # Other images teach nothing here: each one is measured by itself.
        self.settings = settings_of(options)

    def map(self) -> npt.NDArray[np.floating]:
        """(H, W) the current map on the image's grid."""
        heatmap = self.session.heatmap("pixelcam")
        return heatmap.resized(heatmap.image_shape)

    def __call__(self, strokes: Strokes) -> npt.NDArray[np.floating]:
        """The map after a refit."""
        canvas = np.where(strokes == NOT_DRAWN, 0, strokes + 1).astype(np.uint8)
        self.session.set_scribbles(canvas).result()
        self.session.finetune(self.settings).result()
        return self.map()

    def close(self) -> None:
        """Ends the session's worker."""
        self.session.close(wait=True)


class Forest:
    """Pixel classification as it is widely used: filters and a random forest."""

    name = "forest"

    def __init__(self, image: npt.NDArray[np.uint8], threads: int) -> None:
        self.features: npt.NDArray[np.float32] = feature.multiscale_basic_features(
            image, channel_axis=-1, sigma_min=1, sigma_max=16
        )
        self.threads = threads

    def __call__(self, strokes: Strokes) -> npt.NDArray[np.floating]:
        """(H, W) probability of foreground after training anew on all strokes."""
        from sklearn.ensemble import RandomForestClassifier

        forest: Any = RandomForestClassifier(
            n_estimators=100, max_depth=10, random_state=0, n_jobs=self.threads
        )
        drawn = strokes != NOT_DRAWN
        forest.fit(self.features[drawn], strokes[drawn])
        flat = self.features.reshape(-1, self.features.shape[-1])
        return forest.predict_proba(flat)[:, 1].reshape(strokes.shape)


def need_forest() -> None:
    """Says what to do where scikit-learn is missing."""
    if importlib.util.find_spec("sklearn") is None:
        raise SystemExit(
            "The random forest needs scikit-learn, which the package does not: "
            "pip install scikit-learn, or leave it out with --no-forest."
        )


def correct(  # noqa: PLR0917 - the loop's parts
    robot: ModuleType,
    truth: Mask,
    before: Mask | None,
    refine: Refine,
    rounds: int,
    seen: Callable[[int, Strokes, npt.NDArray[np.floating]], None] | None = None,
) -> Run:
    """The loop: look, draw two strokes, refine, compare."""
    run, prediction = Run(), before
    strokes = np.full(truth.shape, NOT_DRAWN, np.uint8)
    for index in range(1, rounds + 1):
        strokes = robot.next_scribbles(truth, prediction, strokes)
        started = time.perf_counter()
        values = refine(strokes)
        run.seconds.append(time.perf_counter() - started)
        prediction = values >= THRESHOLD
        run.iou.append(float(robot.intersection_over_union(truth, prediction)))
        if seen is not None:
            seen(index, strokes, values)
    return run


def uneven(robot: ModuleType, truth: Mask, ours: Ours, counts: tuple[int, int]) -> Run:
    """The loop with so many strokes of foreground and background a round."""
    first = prediction = ours.map() >= THRESHOLD
    score = robot.intersection_over_union
    run = Run(iou=[float(score(truth, first))])
    strokes = np.full(truth.shape, NOT_DRAWN, np.uint8)
    for _ in range(UNEVEN_ROUNDS):
        drawn = strokes
        for place in range(max(counts)):
            wanted = tuple(place < count for count in counts)
            strokes = another(robot, truth, prediction, strokes, wanted)
        if not np.array_equal(drawn, strokes):  # else there is nothing left to correct
            prediction = ours(strokes) >= THRESHOLD
        run.iou.append(float(score(truth, prediction)))
        away = ndimage.distance_transform_edt(strokes == NOT_DRAWN) > FAR
        right = away & (first == truth)
        turned = np.count_nonzero(right & (prediction != truth))
        run.turned.append(turned / max(1, np.count_nonzero(right)))
    return run


def another(
    robot: ModuleType,
    truth: Mask,
    prediction: Mask,
    strokes: Strokes,
    wanted: tuple[bool, ...],
) -> Strokes:
    """One more stroke of each kind that is wanted, away from those that are there."""
    foreground, background = wanted
    near = np.zeros(truth.shape, np.bool_)
    if (strokes != NOT_DRAWN).any():
        near = ndimage.distance_transform_edt(strokes == NOT_DRAWN) <= APART
    # The robot corrects what is wrong; whatever it is to leave alone is called right.
    spared = near | (prediction if not background else False)
    spared |= ~prediction if not foreground else False
    return robot.next_scribbles(
        np.where(spared, prediction, truth), prediction, strokes
    )


def measure(options: argparse.Namespace) -> dict[str, list[Run]]:
    """All learners on all images; prints a line an image."""
    robot = load_robot(options.robot)
    references = load_references(options.data, options.split)[: options.images]
    runs: dict[str, list[Run]] = {"ours": []}
    for reference in references:
        truth = reference.mask()
        ours = Ours(reference.image, options)
        first = ours.map() >= THRESHOLD
        blind = options.blind_start
        run = correct(robot, truth, None if blind else first, ours, options.rounds)
        run.iou.insert(0, float(robot.intersection_over_union(truth, first)))
        runs["ours"].append(run)
        for name, counts in UNEVEN.items() if options.uneven else ():
            ours.session.revert(0).result()
            runs.setdefault(name, []).append(uneven(robot, truth, ours, counts))
        ours.close()
        line = f"{reference.image.name}: {run.iou[0]:.3f} -> {run.iou[-1]:.3f}"
        if options.forest:
            image = io.imread(reference.image)[..., :3]
            forest = Forest(image, options.threads)
            other = correct(robot, truth, None, forest, options.rounds)
            runs.setdefault("forest", []).append(other)
            line += f", forest {other.iou[-1]:.3f}"
        print(line, flush=True)
    return runs


def table(runs: dict[str, list[Run]]) -> str:
    """Means over images as Markdown."""
    ours = np.array([run.iou for run in runs["ours"]])
    forests = np.array([run.iou for run in runs.get("forest", [])])
    lines = [
        "| round | unrefined | ours | ours, worst image | forest |",
        "|---|---|---|---|---|",
    ]
    for index in range(1, ours.shape[1]):
        other = f"{forests[:, index - 1].mean():.3f}" if len(forests) else "-"
        lines.append(
            f"| {index} | {ours[:, 0].mean():.3f} | {ours[:, index].mean():.3f} "
            f"| {ours[:, index].min():.3f} | {other} |"
        )
    return "\n".join(lines)


def uneven_table(runs: dict[str, list[Run]]) -> str:
    """Means over images of strokes that are not even, as Markdown."""
    rounds = range(1, UNEVEN_ROUNDS + 1)
    after = " | ".join(f"round {index}" for index in rounds)
    turned = " | ".join(f"turned {index}" for index in rounds)
    lines = [f"| strokes | before | {after} | {turned} |", "|---" * 8 + "|"]
    for name in UNEVEN:
        iou = np.mean([run.iou for run in runs[name]], axis=0)
        wrong = np.mean([run.turned for run in runs[name]], axis=0)
        cells = [name, *(f"{value:.3f}" for value in iou)]
        cells += [f"{value:.2%}".replace("%", " %") for value in wrong]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def painted(image: npt.NDArray[np.uint8], strokes: Strokes) -> npt.NDArray[np.uint8]:
    """The image with its strokes, foreground green and background magenta."""
    result = image.copy()
    result[strokes == 1], result[strokes == 0] = ORANGE, BLUE
    return result


def brown_area(image: npt.NDArray[np.uint8]) -> Mask:
    """(H, W) where the stain DAB lies, by Otsu's threshold on the smoothed stain."""
    brown = filters.gaussian(color.rgb2hed(image)[..., 2], 3)
    return brown > filters.threshold_otsu(brown)


def another_stain(options: argparse.Namespace) -> None:
    """Strokes on DAB and haematoxylin: pictures of each round, and the IoU."""
    robot = load_robot(options.robot)
    image = data.immunohistochemistry()
    truth = brown_area(image)
    ours = Ours(image, options)
    nothing = np.full(truth.shape, NOT_DRAWN, np.uint8)
    columns = [[painted(image, nothing), _grey(truth), _grey(ours.map())]]

    def seen(_: int, strokes: Strokes, values: npt.NDArray[np.floating]) -> None:
        edges = _grey(values)
        edges[filters.sobel(values >= THRESHOLD) > 0] = ORANGE
        columns.append([painted(image, strokes), edges, _grey(values >= THRESHOLD)])

    first = ours.map() >= THRESHOLD
    run = correct(robot, truth, first, ours, options.rounds, seen)
    ours.close()
    options.ood.mkdir(parents=True, exist_ok=True)
    grid = np.concatenate([np.concatenate(column) for column in columns], axis=1)
    io.imsave(options.ood / "rounds.png", grid[::2, ::2], check_contrast=False)
    run.iou.insert(0, float(robot.intersection_over_union(truth, first)))
    print("another stain, IoU:", " ".join(f"{value:.3f}" for value in run.iou))
    print(
        f"{options.ood / 'rounds.png'}: first column image, truth, unrefined map; then "
        "each round's strokes, map with its outline, and what is above the threshold"
    )


def _grey(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    grey = (255 * values.astype(np.float32)).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    parser.add_argument("--robot", type=Path, required=True)
    parser.add_argument("--split", default="valcl")
    parser.add_argument("--images", type=int)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="glands-mobilenetv2")
    parser.add_argument("--blind-start", action="store_true")
    parser.add_argument("--global-only", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--no-forest", dest="forest", action="store_false")
    parser.add_argument("--no-uneven", dest="uneven", action="store_false")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--ood", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measures and prints."""
    options = parsed()
    if options.data is not None:
        if options.forest:
            need_forest()
        runs = measure(options)
        print(table(runs))
        if options.uneven:
            print(uneven_table(runs))
        for name in ("ours", "forest") if options.forest else ("ours",):
            found = runs[name]
            times = [value for run in found for value in run.seconds]
            print(f"{name}: {statistics.median(times):.3f} s a round (median)")
        if options.out is not None:
            told = {
                name: [asdict(run) for run in found] for name, found in runs.items()
            }
            options.out.write_text(json.dumps(told, indent=1), encoding="utf-8")
    if options.ood is not None:
        another_stain(options)


if __name__ == "__main__":
    main()
