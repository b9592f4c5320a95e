"""Fixtures that all tests may use."""

from __future__ import annotations

import gzip
import importlib
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from napari_wsol.methods import Model

pytest_plugins = [
    "fixtures.killing",
    "fixtures.plugins",
    "fixtures.slides",
    "fixtures.training",
]

GOLDEN = Path(__file__).parent / "golden"


ORACLES = ("captum", "pytorch_grad_cam", "quantus", "torchcam", "torchmil")
APART = {"timm": ("timm",), "oracles": ORACLES}
"""What the tests of a marker import, which the environment of the others lacks."""


def pytest_runtest_setup(item: pytest.Item):
    for marker, packages in APART.items():
        if item.get_closest_marker(marker) is None:
            continue
        for package in packages:
            if os.environ.get(f"NAPARI_WSOL_{marker.upper()}"):
                importlib.import_module(package)  # then its absence is a failure
            else:
                pytest.importorskip(package, exc_type=ImportError)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The project's folder of real slides and images, where there is one."""
    root = os.environ.get("WSOL_SHARED")
    folder = Path(root) if root else Path(__file__).parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("the shared data folder is not here (set WSOL_SHARED to it)")
    return folder / "data"


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory):
    """A folder for what would be kept for the user: theirs is never touched."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPARI_WSOL_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True)
def journals(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    """A folder of its own for every test: no test finds the journals of another."""
    folder = tmp_path_factory.mktemp("work") / "journals"
    monkeypatch.setenv("NAPARI_WSOL_JOURNALS", str(folder))
    # Nor what a person said of an image, nor what they prefer.
    for name in ("known-sizes.json", "preferences.json"):
        (Path(os.environ["NAPARI_WSOL_HOME"]) / name).unlink(missing_ok=True)


@pytest.fixture(scope="session")
def new_small_model():
    """Makes the small model: the same weights each time."""
    return _small_model


@pytest.fixture
def small_model():
    """A small real network with all heads: the first seven blocks of a MobileNetV2."""
    return _small_model()


def _small_model() -> Model:
    import torch

    from napari_wsol.methods import Model, ModelSpec
    from napari_wsol.refinement.finetune import new_head

    torch.manual_seed(0)
    spec = ModelSpec(
        encoder="mobilenet_v2",
        classes=("dark", "bright"),
        heads=("cam", "pcam", "pixelcam"),
        taps=("features.3", "features.6"),
        options={"pixelcam": {"standardize": True}},
    )
    model = Model(spec).eval()
    with torch.no_grad():
        noise = torch.randn(1, 3, 64, 64)
        seen = new_head(model.encoder(noise))
        model.heads["pixelcam"].standardize_to(seen.shift, seen.scale)
    return model


@pytest.fixture
def tissue() -> np.ndarray:
    """(131, 157, 3) uint8: noise with a bright square, sizes that divide by nothing."""
    rng = np.random.default_rng(0)
    image = rng.integers(60, 120, (131, 157, 3)).astype(np.uint8)
    image[40:80, 60:100] += 100
    return image


@pytest.fixture
def strokes(tissue: np.ndarray) -> np.ndarray:
    """Foreground on the square, background beside it."""
    labels = np.zeros(tissue.shape[:2], np.uint8)
    labels[55:60, 65:95] = 2
    labels[10:15, 20:140] = 1
    labels[100:120, 20:25] = 1
    return labels


def golden_weights(  # noqa: PLR0917 - the rule as it was published
    key: str,
    shape: Sequence[int],
    gain: float,
    salt: str = "",
    salt_prefix: str = "",
    alias_prefixes: Mapping[str, str] | None = None,
) -> np.ndarray:
    """The weights that the golden rule gives to an entry of a state dict."""
    for twice in sorted(alias_prefixes or {}, key=len, reverse=True):
        if key.startswith(twice):
            key = (alias_prefixes or {})[twice] + key[len(twice) :]
            break
    seed = (salt if key.startswith(salt_prefix) else "") + key
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    z = rng.standard_normal(tuple(shape))
    last = key.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return np.zeros(tuple(shape), np.int64)
    if last == "running_mean":
        z = 0.1 * z
    elif last == "running_var":
        z = 1.0 + 0.1 * np.abs(z)
    elif len(shape) == 3:
        z = 0.1 * z
    elif len(shape) >= 2:
        z = z * np.sqrt(gain / np.prod(shape[1:]))
    elif last == "weight":
        z = 1.0 + 0.1 * z
    else:
        z = 0.01 * z
    return z.astype(np.float32)


def golden_input(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """(N, C, H, W) float32: an 8 × 8 pattern with noise on it."""
    n, c, h, w = shape
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal((n, c, 8, 8))
    noise = rng.standard_normal((n, c, h, w))
    up = np.repeat(np.repeat(coarse, -(-h // 8), axis=2), -(-w // 8), axis=3)
    return (up[:, :, :h, :w] + 0.25 * noise).astype(np.float32)


@dataclass(frozen=True)
class Golden:
    """A case of the authors' code: what was run and what came out."""

    name: str
    about: dict[str, Any]
    outputs: dict[str, np.ndarray]

    @property
    def x(self) -> Tensor:
        """The input."""
        import torch

        recipe = self.about["input"]
        shape = recipe["shape"]
        x = golden_input(shape[-4:], recipe.get("seed", 0))
        if str(recipe["recipe"]).startswith("abs"):
            x = np.abs(x)
        return torch.from_numpy(x.reshape(shape))

    def keys(self) -> dict[str, list[int]]:
        """Names and shapes of the state dict, in order."""
        if "state_dict" in self.about:
            return {key: shape for key, shape, *_ in self.about["state_dict"]}
        path = GOLDEN / self.about["state_dict_keys"]
        with gzip.open(path, "rt") as file:
            keys = {key: shape for key, shape, *_ in json.load(file)["keys"]}
        diff = self.about.get("state_dict_diff", {})
        keys |= diff.get("added", {}) | diff.get("reshaped", {})
        return {k: v for k, v in keys.items() if k not in diff.get("removed", [])}

    def state(self, without: str = "!") -> dict[str, Tensor]:
        """The whole model's state dict, as its authors' code would save it.

        Args:
            without: beginning of names to leave out; drawing 100 million unused
                weights takes seconds.
        """
        import torch

        return {
            key: torch.from_numpy(
                np.asarray(
                    golden_weights(
                        key,
                        shape,
                        alias_prefixes=self.about.get("alias_prefixes"),
                        **self.about["fill"],
                    )
                )
            )
            for key, shape in self.keys().items()
            if not key.startswith(without)
        }

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The entries under a prefix, without it."""
        return {
            key.removeprefix(prefix): value
            for key, value in self.state().items()
            if key.startswith(prefix)
        }

    def close(self, name: str, found: Tensor | np.ndarray) -> None:
        """Asserts equality with an output: 1e-4, or 1e-3 of values beyond 1."""
        expected = self.outputs[name]
        value = np.asarray(found, np.float64)
        assert value.shape == expected.shape
        allowed = np.maximum(1e-4, 1e-3 * np.abs(expected) * (np.abs(expected) > 1))
        worst = np.max(np.abs(value - expected) - allowed)
        assert worst <= 0, f"{self.name}/{name} is off by {worst} beyond the tolerance"


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Golden]:
    """Loads a case by name."""

    def load(name: str) -> Golden:
        about = json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))
        with np.load(GOLDEN / f"{name}.npz") as arrays:
            return Golden(name, about, dict(arrays))

    return load
