"""What a check said before: a page that is told twice in one process is checked once."""

from __future__ import annotations

from collections.abc import Callable

from lib.steps.domain import Domain
from lib.steps.points import Points
from lib.steps.pointwise import Pointwise

REMEMBERED = 4096
_SEEN: dict[tuple, object] = {}  # what a check said, by all that it depends on


def once(domain: Domain, check: str, run: Callable, *args: object) -> object:
    """What a check says, from memory where this process has checked the same step on the same domain before.

    A refusal is not remembered. Domain and points follow from the domain's sentences, so these stand for both.
    """
    given = tuple(sentence.text for sentence in domain.given)
    key = (check, given, *(_frozen(a) for a in args if not isinstance(a, Domain | Points)))
    if key not in _SEEN:
        if len(_SEEN) >= REMEMBERED:
            _SEEN.clear()
        _SEEN[key] = run(*args)
    return _SEEN[key]


def _frozen(x: object) -> object:
    """A part of a key that can be hashed: steps by their sides, boxes by their ends."""
    if isinstance(x, Pointwise):
        return (x.left, x.relation, x.right)
    if isinstance(x, dict):
        return tuple(sorted(((str(k), _frozen(v)) for k, v in x.items())))
    return tuple(map(_frozen, x)) if isinstance(x, list | tuple) else x
