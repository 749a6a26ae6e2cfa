"""The process that measures a finished run with features disturbed at inference."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from recbole_ssr.compare import measured
from recbole_ssr.errors import UserError
from recbole_ssr.robustness import measure_corrupted


def main(folder: str, settings: str) -> int:
    """Measure and keep the result beside the run; return the exit status."""
    given = json.loads(settings)
    try:
        found = measure_corrupted(folder, given)
        measured.write(Path(folder), given, found.valid, found.test)
    except (UserError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
