"""What a page's experiments would compute at full size, and one block of one of them computed, in one process.

No kernel and no Jupyter package is needed. Of the page only those top-level statements run that the wanted experiments
depend on, so that a full run may be assembled from several sittings and machines (``lib.book.recorder``).
"""

import ast
import json
import os
import re
import sys

from lib import evidence
from lib.book.pages import Page, chapter
from lib.book.tether import end_with_parent
from lib.call import Call
from lib.cells import executing
from lib.errors import BookError
from lib.evidence import Evidence
from lib.pending import Absent, AbsentError, judged
from lib.source import Statement, statements

ELSEWHERE = "another machine"  # the kind of device under which the store keeps what a cluster computed
SAID = "said: "  # begins the line of a process that holds its answer; an experiment may print others


class RecordError(BookError):
    """An experiment that cannot be recorded."""


def experiments(page: Page) -> dict[str, Statement]:
    """Experiments of a page: id -> the statement that runs it."""
    out = {}
    for s in (s for c in page.cells for s in statements(c.source)):
        for n in ast.walk(s.node):
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "experiment":
                if not (n.args and isinstance(n.args[0], ast.Constant) and isinstance(s.node, ast.Assign)):
                    raise RecordError(f"{page.slug}: write experiments as `E1 = run.experiment(\"E1\", ...)`, "
                                      "with the id as a literal.")
                if n.args[0].value in out:
                    raise RecordError(f"{page.slug}: two experiments are called {n.args[0].value}.")
                out[n.args[0].value] = s
    return out


def plan(page: Page, ids: list[str]) -> list[tuple[Statement, int]]:
    """Statements that the wanted experiments depend on, in the page's order, with their lines in the page."""
    every = [(s, c.line + s.node.lineno - 1) for c in page.cells for s in statements(c.source)]
    known = experiments(page)
    unknown = sorted(set(ids) - known.keys())
    if unknown:
        raise RecordError(f"{page.slug} has no experiment {', '.join(unknown)}; it has {', '.join(known)}.")
    wanted = {i for i, (s, _) in enumerate(every) if any(known[d].text == s.text for d in ids)}
    todo = list(wanted)
    while todo:
        i = todo.pop()
        for name in every[i][0].reads:
            for j, (s, _) in enumerate(every):
                if j not in wanted and (name in s.binds or name in s.changes) and (j < i or _is_definition(s)):
                    wanted.add(j)
                    todo.append(j)
    return [every[i] for i in sorted(wanted)]


def behind(page: Page, id: str) -> list[str]:
    """Claims that are judged on the evidence of an experiment, directly or through other names."""
    names, out, experiment = set(), [], experiments(page)[id]
    for s in (s for c in page.cells for s in statements(c.source)):
        if s.text == experiment.text:
            names |= s.binds
        elif s.reads & names:
            names |= s.binds | s.changes
            out += judged(s.text)
    return out


def _is_definition(s: Statement) -> bool:
    return isinstance(s.node, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom)


def _is_parameter(s: Statement) -> bool:
    return isinstance(s.node, ast.Assign) and bool(s.binds) and s.binds <= {"size", "seed", "device"} \
        and not re.search(r"\bRun\b", s.text)


def calls(page: Page, ids: list[str], device: str = "auto", seed: int = 0, evidence_of=None) -> dict[str, Call | None]:
    """What the wanted experiments would compute at full size; None for one that waits for the evidence of another.

    ``evidence_of(call)`` gives the evidence that later experiments see of an earlier one, or None where there is none: by
    default what is in the store or in a fresh record.
    """
    evidence_of = evidence_of or (lambda call: call.join(found) if all(found := call.found()) else None)
    known = {s.text: id for id, s in experiments(page).items()}
    namespace = {"__name__": "__main__", "size": "full", "seed": seed, "device": device}
    out: dict[str, Call | None] = {}
    cells = [c.source for c in page.cells]
    ends = [c.line + c.source.count("\n") for c in page.cells]
    for s, line in plan(page, ids):
        if _is_parameter(s):
            continue
        upto = next(i for i, end in enumerate(ends) if line <= end)
        with executing(cells[:upto + 1]):
            try:
                if s.text in known:
                    out[known[s.text]] = call = _evaluated(page, s, line, namespace)
                    made = evidence_of(call)
                    namespace.update(dict.fromkeys(s.binds, Absent(frozenset({known[s.text]})) if made is None else made))
                    continue
                tree = ast.increment_lineno(ast.parse(s.text), line - 1)
                exec(compile(tree, str(page.path), "exec"), namespace)  # the page's own code, as a kernel would run it
            except AbsentError:
                needs = [object.__getattribute__(namespace[n], "_needs") for n in s.reads if type(namespace.get(n)) is Absent]
                namespace.update(dict.fromkeys(s.binds, Absent(frozenset().union(*needs))))
                if s.text in known:
                    out[known[s.text]] = None
    return {id: out[id] for id in ids}


def _evaluated(page: Page, s: Statement, line: int, namespace: dict) -> Call:
    """``run.experiment(id, fn, **params)`` evaluated as ``run.call(id, fn, **params)``."""
    call = ast.increment_lineno(ast.parse(s.text), line - 1).body[0].value
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "experiment"):
        raise RecordError(f"{page.slug}: write experiments as `E1 = run.experiment(\"E1\", ...)`, with nothing around them.")
    call.func.attr = "call"
    return eval(compile(ast.Expression(call), str(page.path), "eval"), namespace)


def is_fresh(call: Call) -> bool:
    """True when the committed record is what today's page would make, all its blocks included."""
    try:
        found = evidence.read_record(call.recipe.slug, call.recipe.id, call.recipe)
    except evidence.EvidenceError:
        return False
    return found is not None and not found.stale and len(found.info.get("blocks", [])) == len(call.recipe.blocks)


def refuse_shrunk() -> None:
    """Raise RecordError where experiments would run shrunk."""
    if float(os.environ.get("BOOK_SHRINK", 1)) != 1:
        raise RecordError("shrunk evidence cannot be recorded; unset BOOK_SHRINK.")


def survey(page: Page, ids: list[str], device: str = "auto", force: bool = False) -> list[dict]:
    """What is left to compute of each experiment of a page: one row each, plain enough for another process.

    Keys: ``slug``, ``id``, ``state`` (fresh, open, or waits for the evidence of another experiment) and, of an open one,
    ``alone``, ``asks`` (for a device) and ``blocks``: for each its number of seeds ``n``, whether it is there (``have``), its
    ``key`` in the store where another machine computes it, and the ``seconds`` that it should take, by the other blocks or
    the last record (None: nothing is known). With ``force`` no record is fresh, and nothing is there.
    """
    rows = []
    for id, call in calls(page, ids, device).items():
        row = {"slug": page.slug, "id": id, "state": "waits" if call is None else "fresh"}
        if call is not None and (force or not is_fresh(call)):
            pieces, found = call.recipe.pieces(), gathered(call)
            rate = _seconds_a_seed(call, found)
            seeds = [len(p.params.get("seeds", [0])) for p in pieces]
            row |= {"state": "open", "alone": call.alone, "asks": call.device is not None,
                    "blocks": [{"n": n, "have": f is not None and not force, "key": p.key(ELSEWHERE),
                                "seconds": None if rate is None else rate * n} for p, f, n in zip(pieces, found, seeds)]}
        rows.append(row)
    return rows


def gathered(call: Call) -> list[Evidence | None]:
    """Evidence of each block that is there already, computed here or by a cluster; None where a block is not."""
    out = call.found()
    for k, piece in enumerate(call.recipe.pieces()):
        if out[k] is None and (found := evidence.find(piece, ELSEWHERE)) is not None:
            made = evidence.Recipe.from_json(found.info["recipe"], found.info["texts"])
            if odd := piece.differences(made):
                evidence.forget(piece, ELSEWHERE)
                raise RecordError(f"{piece.slug} {piece.id}: the cluster computed it from another text ({', '.join(odd)}); "
                                  "bring its clone of the book up to date.")
            out[k] = found
    return out


def _seconds_a_seed(call: Call, found: list[Evidence | None]) -> float | None:
    """Seconds that one seed of an experiment takes: by the blocks that are there, else by its last record."""
    known = [f for f in found if f is not None]
    if not known:
        try:
            known = [r for r in [evidence.read_record(call.recipe.slug, call.recipe.id)] if r is not None]
        except evidence.EvidenceError:
            return None  # damaged: it is made again
    n = sum(len(f.info["recipe"]["params"].get("seeds", [0])) for f in known)
    return sum(f.info["seconds"] for f in known) / n if n else None


def block(page: Page, id: str, k: int = 0, device: str = "auto") -> tuple[float, str]:
    """Compute one block of an experiment in this process and store it; returns its seconds, and the folder it lies in."""
    refuse_shrunk()
    made = (call := _call(page, id, device)).compute(k)
    return made.info["seconds"], str(evidence.folder(call.recipe.pieces()[k], call.kind))


def write(page: Page, id: str, device: str = "auto", blocks: int | None = None) -> str:
    """Write the record of an experiment from the blocks that are there, or the first of them; returns one line."""
    found = gathered(call := _call(page, id, device))[:blocks]
    if None in found:
        raise RecordError(f"{page.slug} {id} lacks block {found.index(None) + 1} of {len(call.recipe.pieces())}; run "
                          f"`python -m lib.book record {page.slug} {id}` again.")
    file = evidence.write_record(made := call.join(found))
    have, of = len(made.info.get("blocks", [])), len(call.recipe.blocks)
    parts = f" in {of} blocks" if have == of > 0 else f", the first {have} of {of} blocks" if of else ""
    return (f"{page.slug} {id}: recorded on {made.info['device']}{parts}, {made.info['seconds']:.0f} s of computing, "
            f"{file.with_suffix('.npz').stat().st_size} bytes")


def _call(page: Page, id: str, device: str) -> Call:
    call = calls(page, [id], device)[id]
    if call is None:
        raise RecordError(f"{page.slug} {id} needs the evidence of another experiment; record that first.")
    return call


def main() -> int:
    """Entry of one process: ``survey``, ``block`` or ``write``, then the arguments of that function as JSON."""
    try:
        what, (slug, *rest) = sys.argv[1], json.loads(sys.argv[2])
        end_with_parent()
        page = chapter(slug)
        if what == "survey":
            said = survey(page, rest[0] or list(experiments(page)), *rest[1:])
        elif what == "block":
            said = block(page, *rest)
        else:
            said = write(page, *rest)
    except (BookError, OSError) as e:
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        return 1
    print(f"{SAID}{json.dumps(said)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
