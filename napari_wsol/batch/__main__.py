"""``python -m napari_wsol.batch FOLDER`` writes the table of a folder of results."""

from __future__ import annotations

import sys
from pathlib import Path

from napari_wsol.batch.results import ResultsFolder

if __name__ == "__main__":
    ResultsFolder(Path(sys.argv[1])).write_summary()
