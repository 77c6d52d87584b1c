"""What the judgements of a chapter could have seen: power at the smallest effect worth naming.

A rule declares that effect as ``above("gain", 0.0, effect=0.02)``: the smallest distance of the true value from the
threshold that is worth naming. Spread and number of outcomes are those of the last judgement; nothing is run.
"""

import math

from lib import stats
from lib.book import reference, results
from lib.book.pages import Page
from lib.errors import BookError

WANTED = 0.9


class PowerError(BookError):
    """A chapter whose judgements say nothing of their power."""


def spread(m: dict, alpha: float) -> float:
    """Standard deviation over outcomes, from the interval of ``m``."""
    from scipy import stats as laws
    return (m["high"] - m["low"]) / 2 * math.sqrt(m["n"]) / laws.t.ppf(1 - alpha / 2, m["n"] - 1)


def of(test: dict, m: dict, looks: list[int]) -> dict | None:
    """Power of one rule on one measured value, or None where the value was taken as exact.

    With looks it is the power of the best single look, which is at most that of all of them together.
    """
    if not m["unit"]:
        return None
    rule, effect = test["rule"], test["effect"]
    side, alpha = rule[0], rule[-1] / max(1, len(looks))
    plan = [(n, alpha) for n in looks or [m["n"]]]
    if m["unit"] != "mean" and side != "within":
        bound = rule[2] if side == "above" else 1 - rule[2]
        plan = [(n, a / math.e if m["unit"] == "seeds" else a) for n, a in plan]

        def power(distance: float) -> float:
            return max(stats.power_of_share(min(1.0, bound + distance), bound, n, a) for n, a in plan)
        reach = 1 - bound
    else:
        sd = spread(m, alpha)

        def power(distance: float) -> float:
            return max(stats.power_of_mean(distance, sd, n, a) for n, a in plan)
        reach = 1e3 * sd
    if side == "within" and effect is None:
        on = max(0.0, 2 * power(rule[3]) - 1)  # both ends must lie inside when the value is on its target
    else:
        on = None if effect is None else power(effect)
    low, high = 0.0, reach
    if power(high) < WANTED:
        return {"n": max(n for n, _ in plan), "effect": effect, "power": on, "seen": None}
    for _ in range(60):
        low, high = (low, (low + high) / 2) if power((low + high) / 2) >= WANTED else ((low + high) / 2, high)
    return {"n": max(n for n, _ in plan), "effect": effect, "power": on, "seen": high}


def rows(page: Page) -> list[list[str]]:
    """One row a value judged on seeds: claim, size, value, n, effect, power there, the effect that is seen in nine of ten."""
    out = []
    for size in results.SIZES:
        found, known, committed = results.find(page, size), reference.read(page.slug), reference.full_claims(page.slug)
        claims = found.summary["claims"] if found else reference.records(known or {"cells": []}) if size == "reduced" \
            else (committed or {"claims": []})["claims"]
        for c in claims:
            for test in c.get("tests", []):
                m = c["measured"].get(test["name"])
                p = of(test, m, c["looks"]) if m and "unit" in m else None
                if p is not None:
                    words = [stats.number(x) if x is not None else "not declared" for x in (p["effect"], p["power"])]
                    if p["effect"] is None and p["power"] is not None:
                        words[0] = "on target"
                    seen = "none" if p["seen"] is None else stats.number(p["seen"])
                    out.append([c["id"], size, test["name"], str(p["n"]), *words, seen])
    if not out:
        raise PowerError(f"{page.slug} has no judgement on seeds that says how it was made; run `python -m lib.book run "
                         f"{page.slug}`.")
    return out


def table(page: Page) -> str:
    """The rows as text, with the number of values whose effect is not declared."""
    head = ["claim", "size", "value", "n", "effect worth naming", "power there", f"effect seen in {WANTED:.0%}"]
    body = rows(page)
    owed = sum(r[4] == "not declared" for r in body)
    widths = [max(len(r[i]) for r in [head, *body]) for i in range(len(head))]
    lines = ["  ".join(x.ljust(w) for x, w in zip(r, widths)).rstrip() for r in [head, *body]]
    return "\n".join([f"{page.slug}: {len(body)} values judged on seeds; for {owed} no effect worth naming is declared",
                      *lines])
