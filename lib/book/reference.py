"""References: the claim lines of each chapter at reduced size, committed, and what compares them with today's page.

A reference holds the claim report and the machine's record, no images and no other cell. nbval never runs the
reference's own code: today's code cells are joined to its outputs by the name of the cell.
"""

import ast
import copy
import json
from pathlib import Path

from lib import evidence, paths
from lib.book import results
from lib.book.pages import Page, chapter, chapters
from lib.errors import BookError
from lib.evidence import to_bytes, write_file
from lib.source import statements

DEFINITIONS = ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom


class ReferenceError(BookError):
    """A reference that is missing, empty, of an unknown page, or at odds with today's page."""


def file(slug: str) -> Path:
    """Reference of a chapter."""
    return paths.home() / "tests" / "reference" / f"{slug}.ipynb"


def _json(path: Path, holds: tuple[str, ...]) -> dict | None:
    """A committed JSON file, or None where there is none; raises ReferenceError where it is damaged."""
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if all(key in found for key in holds):
            return found
        why = f"it holds no {' and no '.join(k for k in holds if k not in found)}"
    except (ValueError, TypeError) as e:
        why = str(e)
    raise ReferenceError(f"{path.relative_to(paths.home()).as_posix()} is damaged ({why}); restore it with git, or delete it "
                         "and run `python -m lib.book refresh`.")


def read(slug: str) -> dict | None:
    """Reference notebook as JSON, or None."""
    return _json(file(slug), ("cells", "metadata"))


def core_seconds(slug: str) -> dict[str, float]:
    """Core-seconds of each size when the reference was made; empty where that is not known."""
    try:
        return (read(slug) or {}).get("metadata", {}).get("book", {}).get("core_seconds", {})
    except ReferenceError:
        return {}


def records(notebook: dict) -> list[dict]:
    """The machine's record of the claims in a reference."""
    return next((results.facts(o)["claims"] for _, o in results.outputs(notebook)
                 if results.facts(o).get("kind") == "report"), [])


def make(page: Page, result: results.Result, rules: dict, core_seconds: dict[str, float]) -> dict:
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
    meta = {"book": {"slug": page.slug, "title": page.title, "page": page.relative, "rules": rules,
                     "core_seconds": core_seconds},
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
    seconds = {size: round(r.summary["run"]["core_seconds"]) for size, r in (("reduced", reduced), ("full", full))}
    write_file(file(page.slug), to_bytes(make(page, reduced, rules, seconds)))
    facts = {k: full.summary[k] for k in ("claims", "assertions", "experiments")}
    write_file(paths.records(page.slug) / "claims.json", to_bytes(facts))
    return said


def full_claims(slug: str) -> dict | None:
    """Committed verdicts of the full size, or None."""
    return _json(paths.records(slug) / "claims.json", ("claims", "experiments"))


def verify_records(slug: str) -> None:
    """Raise EvidenceError where a record on which committed verdicts rest is missing or damaged."""
    for id, used in (full_claims(slug) or {"experiments": {}})["experiments"].items():
        if used and evidence.read_record(slug, id) is None:
            raise evidence.EvidenceError(f"the record {slug}/{id} is missing, and committed verdicts rest on it; restore it "
                                         f"with git, or record it anew with `python -m lib.book record {slug} {id}`.")


def judged_today(page: Page) -> set[str]:
    """Claims whose measured values rest on no experiment, so that today's processor computes them at each replay.

    The names that a judgement reads are followed back through the page's statements, without running any.
    """
    every = [s for c in page.cells for s in statements(c.source)]
    calls = [[n for n in ast.walk(s.node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)] for s in every]
    runs = {i for i, found in enumerate(calls) if any(n.func.attr == "experiment" for n in found)}
    out, stored = set(), set()
    for i, found in enumerate(calls):
        ids = {n.args[0].value for n in found if n.func.attr == "judge" and n.args and isinstance(n.args[0], ast.Constant)}
        if not ids:
            continue
        reached, todo = {i}, [i]
        while todo:
            at = todo.pop()
            new = {j for j, s in enumerate(every) if j not in reached and every[at].reads & (s.binds | s.changes)
                   and (j < at or isinstance(s.node, DEFINITIONS))}
            reached |= new
            todo += new
        (stored if reached & runs else out).update(ids)
    return out - stored


def changes(before: list[dict], after: list[dict], size: str, today: set[str] = frozenset()) -> list[str]:
    """Flipped verdicts and changed rules; at full size, where all is replayed, stale records and numbers too.

    What comes from stored arrays must agree to six digits. What today's processor computes (the claims ``today``) must
    agree at the scale of the decision, and lie nearer to the committed number than to its threshold: a number that is
    nothing but rounding may be thrice as large on another processor.
    """
    out = flips(before, after)
    old = {c["id"]: c for c in before}
    for c in after:
        b = old.get(c["id"])
        if b is None or b["verdict"] != c["verdict"]:
            continue
        if b["rule"] != c["rule"]:
            out.append(f"{c['id']}: the rule is not the committed one")
        elif size == "full" and b["stale"] != c["stale"]:
            words = [f"stale {', '.join(x['stale'])}" if x["stale"] else "fresh" for x in (b, c)]
            out.append(f"{c['id']}: the records it rests on were {words[0]} and are {words[1]}")
        elif size == "full":
            out += [f"{c['id']}: the verdict is the same, the number {x}"
                    for x in numbers_differ(b["measured"], c["measured"], c["id"] in today)]
    return out


def numbers_differ(before: dict, after: dict, computed: bool) -> list[str]:
    """Measured values that differ, in words; ``computed`` compares them at the scale of their decisions."""
    out = [f"`{name}` is measured once only" for name in sorted(before.keys() ^ after.keys())]
    for name in sorted(before.keys() & after.keys()):
        a, b = before[name], after[name]
        if not isinstance(a, dict) or not isinstance(b, dict):
            a, b = {"value": a}, {"value": b}
        margin = abs(b.get("margin", 0.0))
        for word in sorted(a.keys() & b.keys() - {"margin"}):
            x, y = a[word], b[word]
            if isinstance(x, float) and isinstance(y, int | float):
                near = max(1e-6 * max(abs(x), abs(y), margin), margin if computed else 1e-12)
                same = x == y or abs(x - y) <= near
            else:
                same = x == y
            if not same:
                out.append(f"`{name}` ({word}) was {x} and is {y}")
    return out


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
        found = changes(known["claims"], full.summary["claims"], "full")
        found = changes(known["claims"], full.summary["claims"], "full", judged_today(page)) if found else found
        out += [f"{page.slug} (full) {x}" for x in found]
    return out


def joined(path: Path):
    """What nbval is to run for a reference: today's code cells with the reference's outputs, by the cells' names."""
    import nbformat
    reference = _json(path, ("cells", "metadata"))
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
