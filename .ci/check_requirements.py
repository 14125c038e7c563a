"""Says whether the installed distributions, i.e. requirements.txt, are what setup.cfg asks for.

And whether each extra that one of them asks of another (``coverage[toml]``) is pinned with its
name: pip takes the newest release for an extra that is not, and then refuses it for want of a hash.
"""

import configparser
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def pinned() -> dict[str, set[str]]:
    """The extras with which each distribution is pinned."""
    pins = re.findall(
        r"^([\w.-]+)(?:\[([\w,.-]+)\])?==", Path("requirements.txt").read_text(), re.M
    )
    return {canonicalize_name(name): set(extras.split(",")) for name, extras in pins}


def wanted_by(pins: dict[str, set[str]]) -> Iterator[Requirement]:
    """What the pinned distributions ask for here, themselves and by their pinned extras."""
    for distribution in distributions():
        extras = pins.get(canonicalize_name(distribution.name))
        for line in distribution.requires or () if extras is not None else ():
            requirement = Requirement(line)
            marker = requirement.marker
            if not marker or any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
                yield requirement


pins = pinned()
for requirement in wanted_by(pins):
    if lacking := requirement.extras - pins.get(canonicalize_name(requirement.name), set()):
        problems.append(f"{requirement}: requirements.txt pins it without {', '.join(lacking)}")

if problems:
    sys.exit("\n".join([*problems, "Run `bash .ci/lock`."]))
