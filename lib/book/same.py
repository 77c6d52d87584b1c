"""Show that another text gives the same bits, and let a record keep its numbers under today's text.

The experiment is run shrunk, on full size's code path, by the text that made the record and by today's, on one machine and
from two seeds. Where all arrays agree bit by bit *and* every statement that changed was entered, the record takes today's
text and keeps the transcript. Anything else stays stale.
"""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from io import BytesIO
from pathlib import Path

import numpy as np

from lib import evidence, paths
from lib.book import record, runner
from lib.book.pages import Page
from lib.errors import BookError
from lib.evidence import Evidence, Recipe, blocks, changes
from lib.source import Part

SHRINK = 64  # the shrunk run is of so many times fewer seeds, steps, points
SEEDS = (0, 1)
NEEDED = ("_toc.yml", "book", "constraints", "lib", "pyproject.toml", "requirements.txt")


class SameError(BookError):
    """Two texts that cannot be shown to give the same evidence."""


def same(page: Page, ids: list[str], device: str = "cpu", block: bool = False, base: str | None = None) -> list[str]:
    """Take today's text into the stale records of the wanted experiments, where it is shown to give the same bits.

    Without ids: every experiment whose record is stale. ``base`` is the commit whose text made the record, by default the
    last that wrote it. ``block`` compares the first block at full size as well; a change of compiled code needs it.
    Returns one sentence an experiment; raises SameError when a record could not be kept.
    """
    record.refuse_shrunk()
    today = _run(paths.home(), page, {"what": "closures", "ids": _recorded(page, ids), "device": device})
    stale = [id for id, c in today["closures"].items() if c["stale"]]
    said = [f"{page.slug} {id}: the record is fresh" for id in ids if id not in stale]
    groups: dict[str, list[str]] = {}
    for id in stale:
        groups.setdefault(base or _last_commit(page.slug, id), []).append(id)
    failed = []
    for commit, mine in groups.items():
        kept, faults = _against(page, commit, mine, today, device, block)
        said += kept
        failed += faults
    if failed:
        raise SameError("\n".join(said + failed))
    return said or [f"{page.slug}: every record is fresh"]


def _recorded(page: Page, ids: list[str]) -> list[str]:
    """The wanted experiments, or all that have a record."""
    lacks = [id for id in ids if not evidence.record_file(page.slug, id).is_file()]
    if lacks:
        raise SameError(f"{page.slug} has no record of {', '.join(lacks)}, so there is nothing to keep.")
    return ids or [id for id in record.experiments(page) if evidence.record_file(page.slug, id).is_file()]


def _against(page: Page, commit: str, ids: list[str], today: dict, device: str, block: bool) -> tuple[list[str], list[str]]:
    """Compare today's tree with the one of a commit; what was kept and what was not, one sentence each."""
    kept, failed, clocks, shown = [], [], [], {}
    with _tree(commit) as tree, tempfile.TemporaryDirectory() as folder:
        before = _run(tree, page, {"what": "closures", "ids": ids, "device": device})
        if before["versions"] != today["versions"]:
            odd = ", ".join(sorted(k for k, v in today["versions"].items() if v != before["versions"].get(k)))
            raise SameError(f"the two sides ran with other packages ({odd}); run both with one interpreter.")
        must: dict[str, tuple] = {}
        for id in ids:
            try:
                must[id] = _changed(page, id, commit, before["closures"][id], today["closures"][id], block)
            except BookError as e:
                failed.append(f"{page.slug} {id}: {e}")
        sides = _both(page, (tree, paths.home()), must, today["closures"], device, False, folder)
        whole = _both(page, (tree, paths.home()), must, today["closures"], device, True, folder) if block and must else None
        for id, (old, new) in must.items():
            try:
                notes = _equal(id, sides, folder, today["closures"][id]["alone"], whole)
                for side, lines in zip(sides, (old, new)):
                    if lacks := changes.missed(lines, side["entered"][id], block):
                        m, who = lacks[0], "the text that made it" if side is sides[0] else "today's text"
                        raise SameError(f"line {m.first} of {m.file} in `{m.name}` changed and was not entered by {who}, "
                                        "so equal bits say nothing of it; let the shrunk run reach it, or record again.")
                everything = notes.pop("all aside", False)
                transcript = {"text of": commit[:9], "on": date.today().isoformat(), "shrink": f"1/{SHRINK}",
                              "seeds": len(SEEDS), "changed": sorted({m.name for m in (*old, *new)}), **notes,
                              **({"block": 1} if block else {})}
                if not everything:
                    shown[id] = {*old, *new}
                    kept.append(_kept(page.slug, id, today["closures"][id], transcript))
                else:
                    clocks.append((id, {*old, *new}, transcript))
            except BookError as e:
                failed.append(f"{page.slug} {id}: {e}")
    for id, lines, transcript in clocks:  # what changed gave the same bits in an experiment that can be compared
        by = next((other for other, theirs in shown.items() if lines <= theirs), None)
        if by is None:
            failed.append(f"{page.slug} {id}: all that it returns is read from the clock, so no two runs agree, and no other "
                          "experiment enters all that changed; record again.")
        else:
            transcript["by"] = by
            kept.append(_kept(page.slug, id, today["closures"][id], transcript))
    return kept, failed


def _changed(page: Page, id: str, commit: str, before: dict, now: dict, block: bool) -> tuple[list, list]:
    """Lines of both sides that must be entered; refuses what no comparison of texts can settle."""
    if before["stale"]:
        raise SameError(f"the record was stale at {commit[:9]} already ({', '.join(before['stale'])}), so that commit does "
                        "not hold the text that made it; name one that does with --base, or record again.")
    made = evidence.read_record(page.slug, id, Recipe.from_json(now["recipe"], now["texts"]))
    other = [w for w in made.stale or [] if w.startswith(("parameter ", "data set ")) or w in ("blocks", "seed")]
    if other:
        raise SameError(f"{', '.join(other)} changed, which asks for other numbers; record again.")
    old, new = changes.must_enter(*([changes.Placed(Part("", name, text, tuple(map(tuple, links))), *place)
                                     for name, text, links, *place in c["places"]] for c in (before, now)))
    if any(m.compiled for m in (*old, *new)) and not block:
        name = next(m.name for m in (*old, *new) if m.compiled)
        raise SameError(f"`{name}` is compiled, and no trace enters what a compiler runs; add --block to compare the first "
                        "block at full size.")
    return old, new


def _both(page: Page, trees: tuple, must: dict, closures: dict, device: str, block: bool, folder: str) -> list[dict]:
    """Run the experiments in both trees, beside each other unless one reads the clock; answers of both sides."""
    alone = any(closures[id]["alone"] for id in must)
    tasks = []
    for k, tree in enumerate(trees):
        runs = [(id, seed, 0) for id in must for seed in (SEEDS[:1] if block else SEEDS)]
        runs += [(id, SEEDS[0], 1) for id in must if closures[id]["alone"] and k == 0 and not block]
        place = Path(folder) / f"{'whole' if block else 'shrunk'}-{k}"
        place.mkdir()
        lines = {id: [[m.file, m.first, m.last] for m in both[k]] for id, both in must.items()}
        tasks.append((tree, page, {"what": "ran", "runs": runs, "lines": lines, "device": device, "block": block,
                                   "folder": str(place)}, {"BOOK_SHRINK": str(1 if block else 1 / SHRINK),
                                                           "BOOK_STORE": str(place / "store")}))
    with ThreadPoolExecutor(1 if alone else 2) as pool:
        return list(pool.map(lambda t: _run(*t), tasks))


def _equal(id: str, sides: list[dict], folder: str, alone: bool, whole: list[dict] | None) -> dict:
    """Raise SameError unless both sides returned the same bits; what was left aside, as notes of the transcript."""
    for answers in (sides, whole or []):
        for side, who in zip(answers, ("the text that made it", "today's text")):
            if id in side["faults"]:
                raise SameError(f"{who} failed: {side['faults'][id]}; mend that, or record again.")
    aside = set()
    if alone:  # an experiment that reads the clock does not repeat itself; what does must agree
        one, two = (_arrays(folder, "shrunk-0", id, SEEDS[0], run) for run in (0, 1))
        aside = {k for k in one if not blocks.equal(one[k], two[k])}
    for kind, seeds in (("shrunk", SEEDS), *((("whole", SEEDS[:1]),) if whole else ())):
        for seed in seeds:
            old, new = (_arrays(folder, f"{kind}-{k}", id, seed, 0) for k in (0, 1))
            if old.keys() != new.keys():
                odd = ", ".join(sorted({k.split("/")[1] for k in old.keys() ^ new.keys()}))
                raise SameError(f"{odd} is returned by one text only; record again.")
            for k in old.keys() - aside:
                if not blocks.equal(old[k], new[k]):
                    raise SameError(f"`{k.split('/')[1]}` is not the same, bit by bit, from seed {seed}; record again.")
    words = sorted({k.split("/")[1] for k in aside})
    return {"aside": words, "all aside": aside == set(one)} if aside else {}


def _arrays(folder: str, place: str, id: str, seed: int, run: int) -> dict[str, np.ndarray]:
    with np.load(Path(folder) / place / f"{id}-{seed}-{run}.npz", allow_pickle=False) as z:
        return {k: z[k] for k in z.files}


def _kept(slug: str, id: str, now: dict, transcript: dict) -> str:
    """Write today's text and the transcript into the record; returns one sentence."""
    made, today = evidence.read_record(slug, id), Recipe.from_json(now["recipe"], now["texts"])
    recipe = replace(today, params=made.info["recipe"]["params"], blocks=tuple(made.info["recipe"].get("blocks", ())))
    info = {**made.info, "recipe": recipe.to_json(), "texts": recipe.texts(),
            "same": [*made.info.get("same", []), transcript]}
    evidence.write_record(Evidence(dict(made), info))
    whole = ", and in a whole block" if "block" in transcript else ""
    return (f"{slug} {id}: same bits as the text of {transcript['text of']} at shrink 1/{SHRINK} from {len(SEEDS)} seeds"
            f"{whole}; changed were {', '.join(transcript['changed']) or 'links alone'}")


def _last_commit(slug: str, id: str) -> str:
    """The last commit that wrote a record."""
    file = evidence.record_file(slug, id)
    commit = _git("log", "-1", "--format=%H", "--", str(file.resolve())).decode().strip()
    if not commit:
        raise SameError(f"no commit holds the record {slug}/{id}, so the text that made it is not known; commit it first.")
    return commit


def _git(*words: str) -> bytes:
    done = subprocess.run(["git", "-C", str(paths.home()), *words], capture_output=True)
    if done.returncode:
        raise SameError(f"git {words[0]} failed: {done.stderr.decode().strip().splitlines()[-1]}")
    return done.stdout


@contextmanager
def _tree(commit: str):
    """The book as a commit holds it, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        has = [n for n in _git("ls-tree", "--name-only", commit).decode().splitlines() if n in NEEDED]
        with tarfile.open(fileobj=BytesIO(_git("archive", commit, *has))) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder).resolve()


def _run(tree: Path, page: Page, given: dict, env: dict | None = None) -> dict:
    """Answer of ``retrace`` in a tree of the book."""
    text = (Path(__file__).parent / "retrace.py").read_text(encoding="utf-8")
    data = os.environ.get("BOOK_DATA", str(paths.home() / ".data"))
    environment = {**runner.environment(1), "BOOK_MODE": "", "BOOK_TETHER": "", "BOOK_ROOT": str(tree), "BOOK_DATA": data,
                   "PYTHONPATH": "", **(env or {})}
    done = subprocess.run([sys.executable, "-c", text, json.dumps({"slug": page.slug, **given})], cwd=tree, env=environment,
                          capture_output=True, text=True)
    said = [x for x in done.stdout.splitlines() if x.startswith("said: ")]
    if done.returncode or not said:
        words = [x for x in done.stderr.splitlines() if x.strip()][-1:] or [f"exit code {done.returncode}"]
        raise SameError(f"{page.slug}: {words[0]}")
    return json.loads(said[-1][len("said: "):])
