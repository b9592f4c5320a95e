"""Which pixels teach the pixel head: a table of the recipe."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields

from napari_wsol.errors import ConfigError
from napari_wsol.training.pseudo_labels import PseudoLabelConfig

SEEDERS = ("eigencam", "cam", "self")
READ_BY = {
    "tap": ("eigencam",),
    "foreground": ("eigencam",),
    "components": ("eigencam",),
    "partition": ("eigencam",),
    "top": ("eigencam", "self"),
    "bottom": ("eigencam", "self"),
    "fraction": ("eigencam", "self"),
    "model": ("cam", "self"),
    "method": ("cam",),
    "draw": ("cam",),
    "normal_class": ("cam",),
    "smooth": ("eigencam", "self"),
}
"""Which seeders read an entry; the others refuse it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedConfig:
    """Which pixels teach the pixel head before anybody drew a stroke.

    Attributes:
        seeder: "eigencam" (first principal component of the features over the whole
            training set; uses no label), "cam" (as published: the maps of a finished
            model, each of its image's true class) or "self" (a finished PixelCAM model
            teaches the next).
        tap: the feature map that Eigen-CAM reads.
        foreground: "darker" or "lighter": which end of the component is foreground.
            The component knows no sign; whoever writes the recipe looks at a few maps
            and decides.
        components: weights of the first components that Eigen-CAM adds up, each of
            unit variance and turned to the same end; a negative weight takes the
            other end.
        partition: weight, beside them, of the image's own partition by normalised
            cuts, of unit variance; 0 for none.
        top: share of an image's cells, from the foreground end, that seeds come from;
            of "eigencam" and "self".
        bottom: the same from the other end.
        fraction: share of the pixels drawn afresh at every step; of "eigencam" and
            "self".
        model: name or folder of the finished model; of "cam" and "self".
        method: which of its maps "cam" reads.
        draw: how "cam" draws pixels from a map, a table of its own ([seeds.draw]).
        normal_class: the class whose images show no disease, where ``draw`` treats
            those apart.
        smooth: standard deviation, in pixels of the network's input, of the Gaussian
            that "eigencam" and "self" smooth their maps with; 0 for none.
    """

    seeder: str = "eigencam"
    tap: str = ""
    foreground: str = "darker"
    components: tuple[float, ...] = (1.0,)
    partition: float = 0.0
    top: float = 0.35
    bottom: float = 0.35
    fraction: float = 0.02
    model: str = ""
    method: str = "cam"
    draw: PseudoLabelConfig = field(default_factory=PseudoLabelConfig)
    normal_class: str = ""
    smooth: float = 0.0

    def __post_init__(self) -> None:
        if self.seeder not in SEEDERS:
            raise ConfigError(
                f"There is no seeder “{self.seeder}”; use one of {', '.join(SEEDERS)}."
            )
        for item in fields(self):
            readers = READ_BY.get(item.name, SEEDERS)
            default = item.default
            if default is MISSING:
                default = PseudoLabelConfig()
            if self.seeder not in readers and getattr(self, item.name) != default:
                raise ConfigError(
                    f"The seeder “{self.seeder}” does not read “{item.name}”: leave it "
                    f"out. It is for {' and '.join(readers)}."
                )
        if self.foreground not in ("lighter", "darker"):
            raise ConfigError(
                f"Foreground is the “lighter” or the “darker” end, "
                f"not “{self.foreground}”."
            )
        if not (0 < self.top < 1 and 0 < self.bottom < 1 and 0 < self.fraction <= 1):
            raise ConfigError("Shares of seeds lie between 0 and 1.")
        self._check_source()

    def _check_source(self) -> None:
        if self.seeder == "eigencam" and not self.tap:
            raise ConfigError("Eigen-CAM reads a feature map: name it as “tap”.")
        if self.seeder != "eigencam" and not self.model:
            raise ConfigError(
                f"The seeder “{self.seeder}” reads a finished model: give its name or "
                "folder as “model”."
            )
        if not any(self.components) or self.partition < 0:
            raise ConfigError(
                "Eigen-CAM needs a component with a weight, and a partition of 0 or "
                "more."
            )
        if self.smooth < 0:
            raise ConfigError(f"Maps cannot be smoothed by {self.smooth} pixels.")
        if (self.draw.normal_images != "as any") != bool(self.normal_class):
            raise ConfigError(
                "To treat normal images apart, give both “normal_class” and "
                "“normal_images” of [seeds.draw]; to treat them like any, neither."
            )
