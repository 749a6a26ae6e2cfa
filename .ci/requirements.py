"""Prints the dependencies of setup.cfg for an environment where RecBole comes without its own.

    python requirements.py "numpy>=2,<3"

RecBole and the setuptools that its ray needs are left out; the requirements given as arguments
replace those of the same name.
"""

import configparser
import re
import sys
from pathlib import Path


def name(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement).group().lower()


setup = configparser.ConfigParser()
setup.read(Path(__file__).resolve().parents[1] / "setup.cfg")
extras = setup["options.extras_require"]
text = "\n".join([setup["options"]["install_requires"], extras["host"], extras["test"]])
wanted = [line for line in text.splitlines() if line and not line.startswith("#")]
replaced = {name(given): given for given in sys.argv[1:]}
for requirement in wanted:
    if name(requirement) not in ("recbole", "setuptools"):
        sys.stdout.write(replaced.get(name(requirement), requirement) + "\n")
