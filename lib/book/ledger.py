"""The ledger: every assertion and claim of the book with its verdict, from references, records and pages as text."""

import html
from collections.abc import Callable

from lib import assertions
from lib.book import reference, results
from lib.book.pages import Page, chapters
from lib.claims import slug
from lib.words import inline

VERDICTS = ("holds", "fails", "partial", "undecided", "pending(full)", "pending(hub)")
SAID = {  # verdicts of claims, then of assertions, in the order in which they are told: of one, of several
    "holds": ("holds", "hold"), "fails": ("fails", "fail"), "partial": ("holds in part", "hold in part"),
    "undecided": ("is undecided", "are undecided"), "pending(full)": ("waits for the full size", "wait for the full size"),
    "pending(hub)": ("waits for data from a hub", "wait for data from a hub"),
    "upheld": ("is upheld", "are upheld"), "refuted": ("is refuted", "are refuted"),
    "in part": ("is upheld in part", "are upheld in part"), "open": ("is open", "are open")}


def collect(pages: list[Page] | None = None, built: bool = False) -> dict:
    """The ledger as JSON; ``built`` prefers the results of today's build to the committed files."""
    out = []
    for page in pages if pages is not None else chapters():
        if not built:
            reference.verify_records(page.slug)
        committed, full = reference.read(page.slug), reference.full_claims(page.slug)
        reduced_claims = reference.records(committed) if committed else []
        full_claims = full["claims"] if full else []
        experiments = full["experiments"] if full else {}
        if built:
            found = {size: results.find(page, size) for size in results.SIZES}
            reduced_claims = found["reduced"].summary["claims"] if found["reduced"] else reduced_claims
            if found["full"]:
                full_claims, experiments = (found["full"].summary[k] for k in ("claims", "experiments"))
        rules = committed["metadata"]["book"]["rules"] if committed else {}
        claims = _claims(reduced_claims, full_claims, experiments, rules)
        out.append({"slug": page.slug, "title": page.title, "page": page.relative,
                    "assertions": [_assertion(a, claims) for a in assertions.declared(page.code)], "claims": claims})
    return {"chapters": out}


def _assertion(a: assertions.A, claims: list[dict]) -> dict:
    """An assertion with its verdict: of each claim the full size counts where it decides, else the reduced."""
    counted = {c["id"]: {"id": c["id"], **best(c)} for c in claims}
    sides = {size: assertions.verdict(a, {c["id"]: c[size]["verdict"] for c in claims if c[size]}) for size in results.SIZES}
    return {**assertions.record(a, counted), **sides}


def best(c: dict) -> dict:
    """What counts of a claim: its full size where that decides, else its reduced size."""
    sides = [c[size] for size in reversed(results.SIZES) if c[size]]
    decided = [s for s in sides if not s["verdict"].startswith("pending")]
    return (decided or sides)[0]


def _claims(reduced: list[dict], full: list[dict], experiments: dict, rules: dict) -> list[dict]:
    small, large = {c["id"]: c for c in reduced}, {c["id"]: c for c in full}
    devices = sorted({e["device"] for e in experiments.values() if e})
    out = []
    for id in dict.fromkeys([*small, *large]):
        c = small.get(id) or large[id]
        row = {k: c[k] for k in ("id", "statement", "source", "evidence", "criterion")}
        row["reduced"] = _side(small.get(id))
        row["full"] = _side(large.get(id))
        if row["full"]:
            row["full"]["stale"] = bool(large[id]["stale"])
            is_measured = {"numeric", "timing"} & set(c["evidence"]) and not row["full"]["verdict"].startswith("pending")
            row["full"]["device"] = ", ".join(devices) if is_measured else None
        row["rules"] = rules.get(id, [])
        row["null"] = _null(small.get(id), large.get(id))
        out.append(row)
    return out


def _null(reduced: dict | None, full: dict | None) -> dict | str:
    """The null of a claim: of the full size where it was measured there; what no committed judgement says is owed."""
    found = [c["null"] for c in (full, reduced) if c and "null" in c]
    return next((n for n in found if isinstance(n, str) or n["said"]), found[0] if found else "owed")


def _side(c: dict | None) -> dict | None:
    return None if c is None else {k: c[k] for k in ("verdict", "measured", "said", "alpha")}


def in_words(verdicts: list[str]) -> str:
    """Counts of verdicts as a person would say them: "17 hold, 1 fails, 3 wait for the full size"."""
    return ", ".join(f"{n} {SAID[v][n > 1]}" for v in SAID if (n := verdicts.count(v)))


def verdicts(claims: list[dict], size: str) -> list[str]:
    """Verdicts of claims at a size; a claim without any waits for the full size."""
    return [c[size]["verdict"] if c[size] else "pending(full)" for c in claims]


def headline(ledger: dict) -> str:
    """Counts by verdict, assertions first, pending included, in a few sentences."""
    said = [a["verdict"] for ch in ledger["chapters"] for a in ch["assertions"]]
    paper = f"Of {_count(len(said), 'assertion')} of the papers {in_words(said)}. " if said else ""
    claims = [c for ch in ledger["chapters"] for c in ch["claims"]]
    words = [f"at {size} size {in_words(verdicts(claims, size))}" for size in results.SIZES]
    wrong = sum(c[s]["alpha"] for c in claims for s in results.SIZES if c[s])
    owed = sum(c["null"] == "owed" for c in claims)
    return (f"{paper}Of {_count(len(claims), 'claim')} in {_count(len(ledger['chapters']), 'chapter')}, {'; '.join(words)}. "
            f"{_count(owed, 'claim')} {'owes' if owed == 1 else 'owe'} a null. "
            f"Expected number of wrong statistical verdicts: {wrong:.2g}.")


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"


def badge(side: dict | None, stale: bool = False) -> str:
    """A verdict as a badge of HTML; its words say what its colour says."""
    verdict = side["verdict"] if side else "pending(full)"
    text = verdict + (", stale" if stale else "")
    return f'<span class="book-badge {style(verdict)}">{html.escape(text)}</span>'


def style(verdict: str) -> str:
    """The style of a verdict's colours."""
    same = {"upheld": "holds", "refuted": "fails", "in part": "partial", "open": "undecided"}
    return f"book-{same.get(verdict, slug(verdict))}"


def assertion_table(chapters: list[dict], prefix: Callable[[dict], str] = lambda chapter: "") -> str:
    """Assertions of chapters with verdict, one number and links to the claims that decide, as HTML.

    ``prefix`` gives the page that a chapter's links lead to; without it they stay on the page, and no chapter is named.
    """
    rows = []
    for ch in chapters:
        kinds = {c["id"]: c["evidence"] for c in ch["claims"]}
        for a in ch["assertions"]:
            links = ", ".join(f'<a href="{prefix(ch)}#verdict-{c}-reduced">{c}</a>' for c in a["claims"])
            scale = f"<br><small>paper: {inline(a['scale'][0])}; here: {inline(a['scale'][1])}</small>" if a["scale"] else ""
            facts = _facts(ch, [k for c in a["claims"] for k in kinds.get(c, [])], {**{s: a[s] for s in results.SIZES},
                                                                                  "best": a["verdict"]})
            facts = facts if prefix(ch) else f'id="assertion-{a["id"]}" {facts}'
            rows.append(f'<tr {facts}><th scope="row">{a["id"]}{_where(ch, prefix(ch))}</th><td>{inline(a["statement"])}'
                        f'<br><small>{inline(a["source"])}</small>{scale}</td><td>{badge(a)}</td>'
                        f'<td data-label="measured here"><small>{inline(a["number"])}</small></td>'
                        f'<td data-label="claims">{links}</td></tr>')
    return _table("Assertions and verdicts", ["assertion", "what the paper says", "verdict", "measured here", "claims"], rows)


def _facts(chapter: dict, kinds: list[str], verdicts: dict[str, str]) -> str:
    """What the ledger page filters and sorts a row by, as attributes."""
    said = " ".join(f'data-{size}="{html.escape(v)}"' for size, v in verdicts.items())
    return f'data-chapter="{chapter["slug"]}" data-kinds="{", ".join(dict.fromkeys(kinds))}" {said}'


def _where(chapter: dict, prefix: str) -> str:
    return f"<br><small>{chapter['slug']}</small>" if prefix else ""


def _table(label: str, head: list[str], rows: list[str]) -> str:
    heads = "".join(f'<th scope="col">{h}</th>' for h in head)
    return (f'<div class="book-table book-ledger" tabindex="0" role="region" aria-label="{label}"><table>'
            f'<thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>')


def null_words(null: dict | str) -> str:
    """The null of a claim in one phrase."""
    if isinstance(null, str):
        return f"null: {null}"
    said = "; ".join(null["said"])
    return f"null, {null['what']}: {said + ', ' + null['verdict'] if said else 'pending'}"


def table(chapters: list[dict], prefix: Callable[[dict], str] = lambda chapter: "") -> str:
    """Claims of chapters with both verdicts, criterion and null behind a fold, as HTML; ``prefix`` as for assertions."""
    rows = []
    for ch in chapters:
        for c in ch["claims"]:
            stale = bool(c["full"] and c["full"]["stale"])
            reason = f'<p>Rule changed: {inline(c["rules"][-1][1])}</p>' if len(c["rules"]) > 1 else ""
            facts = _facts(ch, c["evidence"], {size: verdicts([c], size)[0] for size in results.SIZES})
            rows.append(f'<tr {facts}><th scope="row"><a href="{prefix(ch)}#verdict-{c["id"]}-reduced">{c["id"]}</a>'
                        f'{_where(ch, prefix(ch))}</th><td>{inline(c["statement"])}'
                        f'<br><small>{inline(c["source"])}; {", ".join(c["evidence"])}</small>'
                        f'<details class="book-why"><summary>criterion and null</summary><p>{inline(c["criterion"])}</p>'
                        f'{reason}<p>{inline(null_words(c["null"]))}</p></details></td>'
                        f'<td data-label="reduced">{badge(c["reduced"])}</td>'
                        f'<td data-label="full">{badge(c["full"], stale)}</td></tr>')
    return _table("Claims and verdicts", ["claim", "statement", "reduced", "full"], rows)


def verdict_box(sides: dict[str, dict]) -> str:
    """A claim where it is judged, in one line for all sizes: badges, sentence, one number; the rest behind a fold.

    ``sides`` maps a size to the record of the claim there. Links to ``verdict-<id>-<size>`` lead here.
    """
    order = [size for size in reversed(results.SIZES) if size in sides]
    counts = best({size: sides.get(size) for size in results.SIZES})
    id, verdict = counts["id"], counts["verdict"]
    alike = [size for size in results.SIZES if size in sides and sides[size]["verdict"] == verdict]
    others = "".join(f' {badge(sides[size])} <span class="book-size">{size}</span>' for size in order if size not in alike)
    anchors = "".join(f'<span id="verdict-{id}-{size}"></span>' for size in results.SIZES)
    numbers = "".join(f'<p>{size} size: {inline("; ".join(sides[size]["said"]) or sides[size]["verdict"])}.</p>'
                      for size in order)
    null = _null(sides.get("reduced"), sides.get("full"))
    telling = [x for x in counts["said"] if f" {verdict} (" in x] or counts["said"]  # the part that made the verdict
    return (f'<div class="book-verdict {style(verdict)}">{anchors}<p><span class="book-badge {style(verdict)}">{id} '
            f'{html.escape(verdict)}</span> <span class="book-size">{" and ".join(alike)}</span>{others} '
            f'{inline(counts["statement"])} <span class="book-numbers">{inline(assertions.phrase(telling))}</span></p>'
            f'<details class="book-why"><summary>numbers, criterion and null</summary>{numbers}'
            f'<p>Criterion: {inline(counts["criterion"])}.</p><p>{inline(null_words(null))}</p></details></div>')


def by_evidence(ledger: dict) -> str:
    """Counts of claims by kind of evidence and verdict at reduced size, as HTML."""
    claims = [c for ch in ledger["chapters"] for c in ch["claims"]]
    kinds = list(dict.fromkeys(" + ".join(c["evidence"]) for c in claims))
    head = "".join(f'<th scope="col">{v}</th>' for v in VERDICTS)
    rows = ""
    for kind in kinds:
        mine = [c["reduced"]["verdict"] if c["reduced"] else "pending(full)" for c in claims
                if " + ".join(c["evidence"]) == kind]
        rows += f'<tr><th scope="row">{kind}</th>' + "".join(f"<td>{mine.count(v)}</td>" for v in VERDICTS) + "</tr>"
    return (f'<div class="book-table"><table><caption>Claims by kind of evidence and verdict, reduced size</caption>'
            f'<thead><tr><th scope="col">evidence</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>')


def address(page: str) -> str:
    """The rendered page of a source, from a page of the book's own folder."""
    return page.removeprefix("book/").removesuffix(".md") + ".html"


def markdown(ledger: dict, up: str = "../") -> str:
    """The body of the ledger page: all rows stand in it, and the script beside it adds filters."""
    def page(ch: dict) -> str:
        return address(ch["page"])
    chapters = ledger["chapters"]
    filters = f'<div id="book-filter"></div><script src="{up}_static/ledger.js" defer></script>'
    return "\n".join([headline(ledger), "", filters, "", "## Assertions", "", assertion_table(chapters, page), "",
                      "## Claims", "", table(chapters, page), "", "## Evidence", "", by_evidence(ledger), ""])
