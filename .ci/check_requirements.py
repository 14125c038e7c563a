"""Says whether the installed distributions, i.e. requirements.txt, are what setup.cfg asks for."""

import configparser
import sys
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import Requirement

config = configparser.ConfigParser(interpolation=None)
config.read("setup.cfg", encoding="utf-8")
wanted = [config["options"]["install_requires"], *config["options.extras_require"].values()]

problems = []
for line in "\n".join(wanted).split("\n"):
    if not line:
        continue
    requirement = Requirement(line)
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        problems.append(f"{line}: not in requirements.txt")
        continue
    if not requirement.specifier.contains(installed, prereleases=True):
        problems.append(f"{line}: requirements.txt has {installed}")

if problems:
    sys.exit("\n".join([*problems, "Run `bash .ci/lock`."]))
