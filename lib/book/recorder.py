"""Record evidence of the full size, block by block, in processes of one thread each or on a Ray cluster.

Every block that ends is kept, so that a kill loses those that ran, and a full run may take several sittings. With
``lib.book.same``, whose text is another but whose bits are not, this is the only writer of ``book/records``.
"""

import ast
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from lib import paths
from lib.book import results, runner
from lib.book.pages import Page
from lib.book.record import SAID, RecordError, behind, experiments, refuse_shrunk
from lib.evidence import write_folder


@dataclass(frozen=True)
class Block:
    """One block that is left to compute; ``seconds`` that it should take, or None where nothing is known."""

    slug: str
    id: str
    k: int
    of: int
    seconds: float | None
    alone: bool
    asks: bool
    key: str

    def __str__(self) -> str:
        return f"{self.slug} {self.id}" + (f", block {self.k + 1} of {self.of}" if self.of > 1 else "")


class Sitting:
    """One sitting of recording: what was wanted, how long it may last, and what ran so far.

    Parameters
    ----------
    device : device of the experiments, as on a page.
    on : ``"local"``, or ``"ray"``: one task a block on the cluster that ``RAY_ADDRESS`` names.
    minutes : no block starts that will not end within so many minutes; without, all blocks run.
    workers : blocks at a time on this machine; 0 for one a core.
    force : compute again what is there and fresh.
    """

    def __init__(self, device: str = "auto", on: str = "local", minutes: float | None = None, workers: int = 0,
                 force: bool = False):
        refuse_shrunk()
        if minutes is not None and not minutes > 0:
            raise RecordError(f"--minutes {minutes:g} leaves no time to compute; give a number above 0.")
        self.device, self.force, self.start = device, force, time.monotonic()
        self.end = None if minutes is None else self.start + 60 * minutes
        self.workers = workers or min(os.cpu_count() or 1, 8)
        self.machine = _Cluster(device) if on == "ray" else _Here(device)
        self.done: set[Block] = set()
        self.left: list[Block] = []
        self.slower: list[float] = []  # how much longer blocks took than they should

    def survey(self, page: Page, ids: list[str]) -> list[dict]:
        """Rows of ``record.survey``, made in another process."""
        return _child("survey", [page.slug, ids, self.device, self.force])

    def record(self, page: Page, ids: list[str]) -> list[str]:
        """Compute what the wanted experiments lack and write their records; returns one line each."""
        said: dict[str, str] = {}
        while True:
            rows = self.survey(page, [i for i in ids or list(experiments(page)) if i not in said])
            opened, waits = ([r for r in rows if r["state"] == state] for state in ("open", "waits"))
            for r in rows:
                if r["state"] == "fresh":
                    said[r["id"]] = f"{page.slug} {r['id']}: the record is fresh and kept"
                    print(said[r["id"]], flush=True)
            self.run([b for r in opened for b in _blocks(r)])
            for r in opened:
                if not any(b.id == r["id"] for b in self.left):
                    said[r["id"]] = self.written(page, r["id"])
            if not waits or not opened or self.left:
                break  # else what waited for the evidence of these can be computed now
        if waits:
            print(f"{page.slug}: {', '.join(r['id'] for r in waits)} must wait for the evidence of another experiment; "
                  "run the same command again once that is recorded", flush=True)
        return list(said.values())

    def until_decided(self, page: Page, ids: list[str]) -> None:
        """Compute blocks up to each look of the claims that rest on an experiment, until all of them are decided."""
        for id in ids or [i for i in experiments(page) if looks(page, i)]:
            claims = looks(page, id)
            if not claims:
                raise RecordError(f"no claim that rests on {page.slug} {id} has looks, and who stops when a rule decides "
                                  "without them errs more often than it says; declare looks=, or record all seeds.")
            row = self.survey(page, [id])[0]
            blocks, ends = (_blocks(row), _ends(row)) if row["state"] == "open" else ([], [0])
            at = [n for n in sorted(set().union(*claims.values())) if n <= ends[-1]]
            if odd := [n for n in at if n not in ends]:
                raise RecordError(f"{page.slug} {id} is looked at with {odd[0]} seeds and its blocks end at "
                                  f"{', '.join(map(str, ends))}; choose a block that divides each look.")
            if row["state"] == "waits":
                print(f"{page.slug}: {id} must wait for the evidence of another experiment", flush=True)
            elif self._decided(page, id, claims):
                continue
            for n in at:
                self.run([b for b in blocks if b.k <= ends.index(n) and b not in self.done])
                if self.left:
                    return
                self.written(page, id, ends.index(n) + 1)
                if self._decided(page, id, claims):
                    break

    def _decided(self, page: Page, id: str, claims: dict) -> bool:
        """True when today's verdicts leave none of the claims open."""
        runner.update([page], ("full",), 1)
        verdicts = {c["id"]: c["verdict"] for c in results.find(page, "full").summary["claims"]}
        undecided = [c for c in claims if verdicts[c] == "undecided" or verdicts[c].startswith("pending")]
        print(f"{page.slug} {id}: " + (f"{', '.join(undecided)} not decided" if undecided else
              f"{', '.join(claims)} decided, and no more is computed"), flush=True)
        return not undecided

    def written(self, page: Page, id: str, blocks: int | None = None) -> str:
        """Write the record of what is there; returns one line."""
        line = _child("write", [page.slug, id, self.device, blocks])
        print(line, flush=True)
        return line

    def run(self, blocks: list[Block]) -> None:
        """Compute blocks, a few at a time; what may run beside others first. ``left`` are those without time."""
        self.left = []
        blocks = _ordered(blocks, shortest=self.end is not None)
        beside, alone = [b for b in blocks if not b.alone], [b for b in blocks if b.alone]
        self._pool(beside, self.machine.at_once or self.workers)
        self._pool(alone, 1)
        if self.left:
            print(f"no time is left for {', '.join(map(str, self.left))}; run the same command again to go on", flush=True)

    def _pool(self, blocks: list[Block], at_once: int) -> None:
        todo, running, failed = list(blocks), {}, []
        threads = 1 if at_once > 1 or not any(b.alone for b in blocks) else os.cpu_count() or 1
        with ThreadPoolExecutor(max(1, at_once)) as pool:
            try:
                while todo or running:
                    while todo and len(running) < at_once and not failed:
                        b = todo.pop(0)
                        if self._fits(b):
                            running[pool.submit(self.machine.compute, b, threads)] = b
                        else:
                            self.left.append(b)
                    if not running:
                        break
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        b = running.pop(future)
                        try:
                            seconds = future.result()
                        except RecordError as e:
                            failed.append(str(e))
                            continue
                        self.done.add(b)
                        if b.seconds:
                            self.slower.append(seconds / b.seconds)
                        print(f"{b}: {seconds:.0f} s{self._time_left(todo, list(running.values()), at_once)}", flush=True)
            except BaseException:
                self.machine.stop()
                raise
        if failed:
            raise RecordError("\n".join(failed))

    def _needs(self, b: Block) -> float | None:
        return None if b.seconds is None else b.seconds * max(1.0, statistics.median(self.slower or [1.0]))

    def _fits(self, b: Block) -> bool:
        """Whether a block ends in time; one of which nothing is known starts in the first half of the sitting."""
        if self.end is None:
            return True
        needs, now = self._needs(b), time.monotonic()
        return now < (self.start + self.end) / 2 if needs is None else now + needs <= self.end

    def _time_left(self, todo: Iterable[Block], running: list[Block], at_once: int) -> str:
        needs = [self._needs(b) for b in (*todo, *running)]
        if not needs:
            return ""
        if None in needs:
            return f"; {len(needs)} more, of unknown length"
        left = max(sum(needs) / at_once, max(needs))
        return f"; {len(needs)} more, about {f'{left / 60:.0f} min' if left > 90 else f'{left:.0f} s'} left"


class _Here:
    """Blocks in processes of this machine."""

    at_once = None

    def __init__(self, device: str):
        self.device, self.children = device, set()

    def compute(self, b: Block, threads: int) -> float:
        return _child("block", [b.slug, b.id, b.k, self.device], threads, self.children)[0]

    def stop(self) -> None:
        for child in list(self.children):
            child.kill()


class _Cluster:
    """Blocks as tasks of a Ray cluster: one core each and, where an experiment asks for a device, a GPU if there are any."""

    def __init__(self, device: str):
        self.device, self.ray = device, runner.ray_cluster()
        found = self.ray.cluster_resources()
        self.gpus = device != "cpu" and found.get("GPU", 0) >= 1
        self.at_once = int(found.get("CPU", 1))

    def compute(self, b: Block, threads: int) -> float:
        task = self.ray.remote(num_cpus=1, num_gpus=int(self.gpus and b.asks))(_elsewhere)
        try:
            seconds, files = self.ray.get(task.remote(b.slug, b.id, b.k, self.device, threads))
        except self.ray.exceptions.RayTaskError as e:
            raise RecordError(f"{b} failed on the cluster: {str(e.cause).strip()}") from None
        write_folder(paths.store() / "evidence" / b.key, files)
        return seconds

    def stop(self) -> None:
        self.ray.shutdown()


def _elsewhere(slug: str, id: str, k: int, device: str, threads: int) -> tuple[float, dict[str, bytes]]:
    """A block computed on this node: seconds, and its evidence as files."""
    seconds, folder = _child("block", [slug, id, k, device], threads)
    return seconds, {f.name: f.read_bytes() for f in Path(folder).iterdir()}


def _child(what: str, arguments: list, threads: int = 1, children: set | None = None):
    """Answer of ``python -m lib.book.record``; raises RecordError with its last words where it fails."""
    env = {**runner.environment(threads), "BOOK_MODE": ""}
    command = [sys.executable, "-m", "lib.book.record", what, json.dumps(arguments)]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as process:
        (children := set() if children is None else children).add(process)
        words: list[str] = []
        reader = threading.Thread(target=lambda: words.append(process.stderr.read()))
        reader.start()  # beside, so that neither pipe fills; standard input stays open as long as this process lives
        out = process.stdout.read()
        reader.join()
        code = process.wait()
        children.discard(process)
    if code == 0:
        return json.loads(next(x for x in reversed(out.splitlines()) if x.startswith(SAID))[len(SAID):])
    said = [x for x in words[0].splitlines() if x.strip()][-1:] or [f"it ended with exit code {code} and no word"]
    raise RecordError(f"{' '.join(map(str, arguments[:2])) if what != 'survey' else arguments[0]}: {said[0]}")


def _blocks(row: dict) -> list[Block]:
    return [Block(row["slug"], row["id"], k, len(row["blocks"]), b["seconds"], row["alone"], row["asks"], b["key"])
            for k, b in enumerate(row["blocks"]) if not b["have"]]


def _ends(row: dict) -> list[int]:
    """Numbers of seeds at the ends of the blocks."""
    return [sum(b["n"] for b in row["blocks"][:k + 1]) for k in range(len(row["blocks"]))]


def _ordered(blocks: list[Block], shortest: bool) -> list[Block]:
    """As they stand on the page; where time is short, what is unknown first, then experiments by what they need."""
    if not shortest:
        return blocks
    needs: dict[str, float] = {}
    for b in blocks:
        needs[b.id] = needs.get(b.id, 0) + (b.seconds or 0)
    return sorted(blocks, key=lambda b: (b.seconds is not None, needs[b.id], b.id, b.k))


def looks(page: Page, id: str) -> dict[str, tuple[int, ...]]:
    """Claims with looks that rest on an experiment, and those looks, as the page's text tells them."""
    declared = {}
    for n in ast.walk(ast.parse(page.code)):
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "Claim" and n.args:
            for k in n.keywords:
                if k.arg == "looks":
                    declared[n.args[0].value] = tuple(ast.literal_eval(k.value))
    return {c: declared[c] for c in behind(page, id) if c in declared}
