"""Runs first in every tutorial: a folder of its own, and terminal commands whose output is text."""

import os
import subprocess
import sys
import tempfile

from IPython.core.magic import register_cell_magic

folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)
os.environ["RECBOLE_SSR_CACHE"] = os.path.join(folder.name, "cache")
# The command of the Python that runs the tutorial, wherever that is.
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
os.environ.pop("FORCE_COLOR", None)  # IPython sets it


@register_cell_magic
def bash(_line, cell):
    """Run the cell and print what it wrote at once: IPython's own prints pieces of lines."""
    done = subprocess.run(["bash", "-e", "-c", cell], capture_output=True, text=True)
    sys.stdout.write(done.stdout)
    if done.returncode:
        raise RuntimeError(done.stderr)
