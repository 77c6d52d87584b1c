"""What one call of ``run.experiment`` computes: its recipe and its blocks, found, computed and joined."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from lib import evidence, machine
from lib.errors import BookError
from lib.evidence import Evidence, Recipe
from lib.life import sign_of_life
from lib.modules import module_file
from lib.source import PAGE

_IMPORTED = time.time()


@dataclass(frozen=True)
class Call:
    """One call of ``run.experiment``: its recipe, and how each of its blocks is found or computed.

    ``device`` is the one that the experiment runs on, or None where it does not ask for one (and so uses the CPU).
    """

    recipe: Recipe
    fn: Callable
    params: dict
    axes: Mapping[str, Sequence[str]] | None
    alone: bool
    size: str
    shrink: float
    device: str | None

    @property
    def kind(self) -> str:
        """Kind of that device, as it enters local keys."""
        return machine.device_kind(self.device or "cpu")

    def found(self) -> list[Evidence | None]:
        """Evidence of each block that is there already, in the store or in a fresh record; None where a block is not."""
        pieces = [evidence.find(p, self.kind) for p in self.recipe.pieces()]
        if self.size != "full" or self.shrink < 1:
            return pieces
        pieces = [p if p and p.info["size"] == "full" else None for p in pieces]  # a record says of itself what made it
        recorded = [] if all(pieces) else evidence.recorded_pieces(self.recipe)
        return [p or (recorded[k] if k < len(recorded) else None) for k, p in enumerate(pieces)]

    def compute(self, k: int = 0) -> Evidence:
        """Compute the ``k``-th block and store it; of an experiment without blocks there is one."""
        piece = self.recipe.pieces()[k]
        edited = sorted({p.where for p in piece.parts if p.where != PAGE
                         and module_file(p.where).stat().st_mtime > _IMPORTED})
        if edited:
            raise BookError(f"{', '.join(edited)} changed on disk after this process had started, so what runs is not what "
                            "the file says; restart the kernel.")
        params = dict(self.params)
        if self.recipe.blocks:
            start = sum(self.recipe.blocks[:k])
            params["seeds"] = params["seeds"][start:start + self.recipe.blocks[k]]
        if self.device is not None:
            params["device"] = self.device
        start = time.perf_counter()
        with sign_of_life(self._words(k), self._expected(piece)):
            result = evidence.arrays(self.recipe.id, self.fn(**params))
        seconds, device = time.perf_counter() - start, self.device or "cpu"
        info = {"seconds": round(seconds, 2), "peak_mb": machine.peak_mb(device), "device": machine.device_words(device),
                "versions": evidence.versions(), "commit": machine.commit(),
                "made": date.today().isoformat(), "size": self.size, "shrink": self.shrink}
        if self.axes is not None:
            evidence.fit(self.recipe.id, result, self.axes, len(params["seeds"]) if "seeds" in params else None)
        evidence.forget(piece, self.kind)
        return evidence.keep(piece, self.kind, result, info)

    def _words(self, k: int) -> str:
        return f"{self.recipe.id}, block {k + 1} of {len(self.recipe.blocks)}" if self.recipe.blocks else self.recipe.id

    def _expected(self, piece: Recipe) -> float | None:
        """Seconds that the piece should take at full size, by what was recorded."""
        file = evidence.record_file(piece.slug, piece.id)
        if self.size != "full" or self.shrink < 1 or not file.is_file():
            return None
        info = json.loads(file.read_text(encoding="utf-8"))
        seeds = [len(params.get("seeds", [0])) for params in (piece.params, info["recipe"]["params"])]
        return info["seconds"] * seeds[0] / seeds[1]

    def evidence(self) -> Evidence:
        """Evidence of all blocks: what is there, and the rest computed."""
        return self.join([piece or self.compute(k) for k, piece in enumerate(self.found())])

    def join(self, pieces: list[Evidence]) -> Evidence:
        """Evidence of the experiment from that of its blocks, or of the first of them."""
        return evidence.together(self.recipe, pieces, self.axes) if self.recipe.blocks else pieces[0]
