"""One GPU a worker, where several workers share a machine."""

from __future__ import annotations

import platform
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_wsol.batch.claims import Claim, take

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

POLL_SECONDS = 0.5


@contextmanager
def free_gpu(folder: Path, count: int) -> Generator[str]:
    """The device that this worker may use, until it ends; waits for one.

    Args:
        folder: that the workers share.
        count: GPUs of this machine; 0 for its processor, 1 for whatever there is.
    """
    if count < 2:
        yield "auto" if count else "cpu"
        return
    while True:
        for index in range(count):
            claim = take(folder / f"gpu-{platform.node()}-{index}")
            if isinstance(claim, Claim):
                with claim:
                    yield f"cuda:{index}"
                return
        time.sleep(POLL_SECONDS)
