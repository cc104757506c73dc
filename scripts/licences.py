"""Write docs/licences.md: what `pip install ropewalk` brings, and under which licences. `make licences`.

Read from the metadata of this environment's packages, along their requirements for this platform, extras left out.
"""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HEAD = """# Licences of the dependencies

What `pip install ropewalk` brings on Linux, without extras, and the licences that its metadata name: written by
`make licences`. ropewalk itself is under Apache-2.0. NVIDIA's libraries, which a torch with CUDA brings, have licences of
their own and are not listed.

| package | version | licence |
|---|---|---|
"""


def main() -> int:
    found: dict[str, Distribution] = {}
    collect("ropewalk", found)
    del found["ropewalk"]
    rows = [f"| {name} | {found[name].version} | {licence(found[name])} |\n" for name in sorted(found)]
    sys.stdout.write(HEAD + "".join(rows))
    return 0


def collect(name: str, found: dict[str, Distribution]) -> None:
    """Put a package and all that it requires here into `found`."""
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return  # for another platform, or CUDA's
    found[canonicalize_name(name)] = package
    for line in package.requires or []:
        requirement = Requirement(line)
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if wanted and canonicalize_name(requirement.name) not in found:
            collect(requirement.name, found)


def licence(package: Distribution) -> str:
    """The SPDX expression; else the classifiers; else the first line of what the field says."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return expression
    classified = [
        value.rpartition(" :: ")[2] for value in metadata.get_all("Classifier") or [] if value.startswith("License :: ")
    ]
    named = [value for value in classified if value != "OSI Approved"]
    field = (metadata.get("License") or "").strip().partition("\n")[0]
    return ", ".join(named) or field[:80] or "not named in its metadata"


if __name__ == "__main__":
    raise SystemExit(main())
