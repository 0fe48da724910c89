"""Prints paragraphs for debian/copyright: the Python packages that are included, with the licences they name."""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, distributions


def licence(found: Distribution) -> str:
    named = found.metadata.get("License-Expression")
    classified = [c.rpartition(" :: ")[2] for c in found.metadata.get_all("Classifier", []) if c.startswith("License")]
    return named or ", ".join(classified) or (found.metadata.get("License") or "see its metadata").splitlines()[0]


for each in sorted(distributions(), key=lambda d: d.name.lower()):
    if each.name != "chargerd":
        where = f"{sys.argv[1]}/lib/python3*/site-packages/{each.name.replace('-', '_')}*"
        by = each.metadata.get("Author") or each.metadata.get("Author-email") or f"the authors of {each.name}"
        print(f"\nFiles: {where}\nCopyright: {by}\nLicense: {each.name}-licence\n {licence(each)}")  # noqa: T201
