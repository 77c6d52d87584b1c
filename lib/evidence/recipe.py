"""The recipe of an experiment: all that decides what it returns, but for the machine."""

import ast
import functools
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata

import numpy as np

from lib.errors import BookError
from lib.source import Part, canonical

VERSIONED = ("numpy", "scipy", "torch", "numba", "scikit-learn", "transformers", "sympy", "python-flint", "matplotlib")


class EvidenceError(BookError):
    """Evidence that cannot be made, stored or trusted."""


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on, read once a process."""
    out = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return out


def digest(*blobs: bytes | str) -> str:
    """sha256 of the blobs, each with its length, as hexadecimal digits."""
    h = hashlib.sha256()
    for b in blobs:
        b = b.encode() if isinstance(b, str) else b
        h.update(f"{len(b)}:".encode() + b)
    return h.hexdigest()


def plain(value, where: str):
    """A parameter in the form in which it enters a key: JSON, arrays by their hash, real numbers to twelve digits.

    The last digits of a number that a page computes are its processor's, and are not what was asked for.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, Mapping):
        return {str(k): plain(v, where) for k, v in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(v, where) for v in value]
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.generic):
        return plain(value.item(), where)
    if isinstance(value, np.ndarray) and value.dtype != object:
        digits = {"float64": "%.12g", "float32": "%.5g"}.get(value.dtype.name)
        content = np.ascontiguousarray(value).tobytes() if digits is None else ",".join(digits % v for v in value.ravel())
        return {"array": digest(str(value.dtype), str(value.shape), content)}
    raise EvidenceError(f"{where} has a parameter of type {type(value).__name__}; "
                        "pass numbers, strings, lists, dictionaries or arrays.")


def data_read(parts: Sequence[Part], declared: Sequence[str]) -> list[str]:
    """Declared data sets that a closure reads.

    The functions of ``lib.data`` that it reaches name their set where they ask whether it was declared; where one names it
    by a variable (any of several texts), all declared sets count as read.
    """
    asked = [n.args[0] for p in parts if p.where.startswith("lib.data") for n in ast.walk(ast.parse(p.text))
             if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "_allow"]
    if any(not isinstance(a, ast.Constant) for a in asked):
        return list(declared)
    return [name for name in declared if name in {a.value for a in asked}]


@dataclass(frozen=True)
class Recipe:
    """All that decides what an experiment returns, but for the machine.

    ``blocks`` are the numbers of seeds that are computed together, in order; empty where all seeds are computed at once.
    """

    slug: str
    id: str
    parts: list[Part]
    params: dict
    seed: int
    data: dict = field(default_factory=dict)
    blocks: tuple[int, ...] = ()

    def key(self, device: str) -> str:
        """Address in the local store: the recipe, the kind of device and the installed versions."""
        return digest(json.dumps([self.slug, self.id, sorted(canonical(self.parts)), self.params, self.seed, self.data,
                                  self.blocks, device, versions()], sort_keys=True))

    def pieces(self) -> list["Recipe"]:
        """The recipe of each block: that of an experiment with the block's seeds alone; itself where there are no blocks."""
        if not self.blocks:
            return [self]
        ends = np.cumsum(self.blocks).tolist()
        return [replace(self, params={**self.params, "seeds": self.params["seeds"][end - n:end]}, blocks=())
                for n, end in zip(self.blocks, ends)]

    def begins_as(self, other: "Recipe") -> bool:
        """True when the other's blocks are the first blocks of this recipe, seeds included."""
        n = sum(other.blocks)
        return bool(other.blocks) and other.blocks == self.blocks[:len(other.blocks)] \
            and other.params.get("seeds") == self.params.get("seeds", [])[:n]

    def differences(self, other: "Recipe") -> list[str]:
        """What differs, in words: names of parts, parameters, the seed, data sets, blocks. Fewer blocks differ not."""
        mine, theirs = canonical(self.parts), canonical(other.parts)
        out = sorted({name for name, *_ in mine ^ theirs})
        fewer = self.begins_as(other)
        for word, a, b in (("parameter", self.params, other.params), ("data set", self.data, other.data)):
            out += [f"{word} {k}" for k in sorted(a.keys() | b.keys()) if not (fewer and k == "seeds" and word == "parameter")
                    and ((k in a) != (k in b) or json.dumps(a[k], sort_keys=True) != json.dumps(b[k], sort_keys=True))]
        out += ["blocks"] if self.blocks != other.blocks and not fewer else []
        return out + (["seed"] if self.seed != other.seed else [])

    def texts(self) -> dict[str, str]:
        """Texts of the parts by the name under which :meth:`to_json` mentions them."""
        return {_name(t): t for p in self.parts for t in (p.text, *(link[2] for link in p.links))}

    def to_json(self) -> dict:
        """The recipe as JSON, texts by their names (:meth:`texts`)."""
        parts = {(p.name, _name(p.text), tuple((r, n, _name(t)) for r, n, t in p.links)) for p in self.parts}
        return {"slug": self.slug, "id": self.id, "seed": self.seed, "params": self.params, "data": self.data,
                "parts": [[name, text, *map(list, links)] for name, text, links in sorted(parts)],
                **({"blocks": list(self.blocks)} if self.blocks else {})}

    @classmethod
    def from_json(cls, d: dict, texts: dict[str, str]) -> "Recipe":
        """Inverse of to_json and texts; where the parts stood is forgotten."""
        try:
            parts = [Part("", name, texts[text], tuple((r, n, texts[t]) for r, n, t in links))
                     for name, text, *links in d["parts"]]
        except KeyError as e:
            raise EvidenceError(f"the text {e} is missing") from None
        return cls(d["slug"], d["id"], parts, d["params"], d["seed"], d["data"], tuple(d.get("blocks", ())))


def _name(text: str) -> str:
    return digest(text)[:16]
