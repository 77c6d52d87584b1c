"""References: the claim lines of each chapter at reduced size, committed, and what compares them with today's page.

A reference holds the claim report and the machine's record, no images and no other cell. nbval never runs the
reference's own code: today's code cells are joined to its outputs by the name of the cell.
"""

import copy
import json
import math
from pathlib import Path

from lib import paths
from lib.book import results
from lib.book.pages import Page, chapter, chapters
from lib.errors import BookError
from lib.evidence import to_bytes, write_file


class ReferenceError(BookError):
    """A reference that is missing, empty, of an unknown page, or at odds with today's page."""


def file(slug: str) -> Path:
    """Reference of a chapter."""
    return paths.home() / "tests" / "reference" / f"{slug}.ipynb"


def read(slug: str) -> dict | None:
    """Reference notebook as JSON, or None."""
    return json.loads(file(slug).read_text()) if file(slug).is_file() else None


def records(notebook: dict) -> list[dict]:
    """The machine's record of the claims in a reference."""
    return next((results.facts(o)["claims"] for _, o in results.outputs(notebook)
                 if results.facts(o).get("kind") == "report"), [])


def make(page: Page, result: results.Result, rules: dict) -> dict:
    """Reference notebook of a chapter's reduced result."""
    cells = []
    for cell in result.notebook["cells"]:
        kept = []
        for out in cell.get("outputs", []):
            f = results.facts(out)
            if f.get("kind") == "report":
                facts = {"kind": "report", "claims": f["claims"], "assertions": f.get("assertions", [])}
                kept.append({"output_type": "display_data", "metadata": {"book": facts},
                             "data": {"text/plain": out["data"]["text/plain"]}})
        if kept:
            cells.append({"cell_type": "code", "execution_count": 1, "id": cell["metadata"]["name"], "outputs": kept,
                          "metadata": {"name": cell["metadata"]["name"], "tags": ["nbval-check-output"]},
                          "source": cell["source"]})
    meta = {"book": {"slug": page.slug, "title": page.title, "page": page.relative, "rules": rules},
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": meta, "cells": cells}


def rules_with(claims: list[dict], before: dict) -> dict:
    """The append-only list of rules of each claim; refuses a changed rule without a reason."""
    out = copy.deepcopy(before)
    for c in claims:
        known = out.setdefault(c["id"], [])
        if not known:
            known.append([c["rule"], c["changed"] or "first rule"])
        elif known[-1][0] != c["rule"]:
            if not c["changed"] or c["changed"] in [reason for _, reason in known]:
                raise ReferenceError(f"the rule of {c['id']} changed and no new reason is given; "
                                     f"write Claim(\"{c['id']}\", ..., changed=\"why\") or take the change back.")
            known.append([c["rule"], c["changed"]])
    return out


def flips(before: list[dict], after: list[dict]) -> list[str]:
    """Verdicts that differ between two records of claims, one line each."""
    old, new = {c["id"]: c["verdict"] for c in before}, {c["id"]: c["verdict"] for c in after}
    return [f"{i}: {old.get(i, 'not declared')} -> {new.get(i, 'not declared')}"
            for i in sorted(old.keys() | new.keys(), key=_order) if old.get(i) != new.get(i)]


def _order(id: str) -> tuple:
    digits = "".join(c for c in id if c.isdigit())
    return int(digits or 0), id


def refresh(page: Page) -> list[str]:
    """Write the reference and the full size's claims from today's results; returns what to tell, flips first."""
    reduced, full = results.find(page, "reduced"), results.find(page, "full")
    if reduced is None or full is None:
        raise ReferenceError(f"{page.slug} has no result of today's page; run `python -m lib.book run {page.slug}`.")
    before = read(page.slug)
    claims = reduced.summary["claims"]
    rules = rules_with(claims, before["metadata"]["book"]["rules"] if before else {})
    said = [f"{page.slug} (reduced) {x}" for x in flips(records(before) if before else [], claims)]
    known = full_claims(page.slug)
    said += [f"{page.slug} (full) {x}" for x in flips(known["claims"] if known else [], full.summary["claims"])]
    write_file(file(page.slug), to_bytes(make(page, reduced, rules)))
    facts = {k: full.summary[k] for k in ("claims", "assertions", "experiments")}
    write_file(paths.records(page.slug) / "claims.json", to_bytes(facts))
    return said


def full_claims(slug: str) -> dict | None:
    """Committed verdicts of the full size, or None."""
    f = paths.records(slug) / "claims.json"
    return json.loads(f.read_text()) if f.is_file() else None


def changes(before: list[dict], after: list[dict], size: str) -> list[str]:
    """Flipped verdicts and changed rules; at full size, where all is replayed, numbers and staleness too."""
    out = flips(before, after)
    old = {c["id"]: c for c in before}
    for c in after:
        b = old.get(c["id"])
        if b is None or b["verdict"] != c["verdict"]:
            continue
        if b["rule"] != c["rule"]:
            out.append(f"{c['id']}: the rule is not the committed one")
        elif size == "full" and (b["stale"] != c["stale"] or not same_numbers(b["measured"], c["measured"])):
            out.append(f"{c['id']}: {b['measured']}, stale {b['stale']} -> {c['measured']}, stale {c['stale']}")
    return out


def same_numbers(a, b) -> bool:
    """True when two records of measured values agree to six digits."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same_numbers(a[k], b[k]) for k in a)
    if isinstance(a, float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12)
    return a == b


def differences(page: Page) -> list[str]:
    """Where today's results differ from the committed ones, one line each."""
    out = []
    before, known = read(page.slug), full_claims(page.slug)
    reduced, full = results.find(page, "reduced"), results.find(page, "full")
    if reduced:
        if before is None:
            out.append(f"{page.slug} has no reference; make one with `python -m lib.book refresh {page.slug}`")
        else:
            out += [f"{page.slug} (reduced) {x}" for x in changes(records(before), reduced.summary["claims"], "reduced")]
    if full and known is None:
        out.append(f"{page.slug} has no committed verdicts of the full size; run `python -m lib.book refresh {page.slug}`")
    elif full:
        out += [f"{page.slug} (full) {x}" for x in changes(known["claims"], full.summary["claims"], "full")]
    return out


def joined(path: Path):
    """What nbval is to run for a reference: today's code cells with the reference's outputs, by the cells' names."""
    import nbformat
    reference = json.loads(path.read_text())
    slug = reference.get("metadata", {}).get("book", {}).get("slug", path.stem)
    if slug != path.stem:
        raise ReferenceError(f"{path.name} is the reference of {slug}; its file must be named {slug}.ipynb.")
    page = chapter(slug)
    kept = {c["metadata"].get("name"): c["outputs"] for c in reference["cells"]}
    names = {c.name for c in page.cells}
    unknown = sorted(set(kept) - names)
    if unknown:
        raise ReferenceError(f"{path.name} holds outputs of the cell {', '.join(map(str, unknown))}, which the page "
                             f"does not have; run `python -m lib.book refresh {slug}`.")
    if not kept or not all(kept.values()) or not records(reference):
        raise ReferenceError(f"{path.name} holds no claim lines, so nothing would be compared; "
                             f"run `python -m lib.book refresh {slug}`.")
    cells = []
    for c in page.cells:
        tags = [t for t in c.tags if not t.startswith("nbval")] + (["nbval-check-output"] if c.name in kept else [])
        cell = nbformat.v4.new_code_cell(c.source, metadata={"name": c.name, "tags": tags}, execution_count=1)
        cell.outputs = [nbformat.from_dict(o) for o in kept.get(c.name, [])]
        cells.append(cell)
    return nbformat.v4.new_notebook(cells=cells, metadata=reference["metadata"])


def missing() -> list[str]:
    """Chapters without a reference."""
    return [p.slug for p in chapters() if not file(p.slug).is_file()]
