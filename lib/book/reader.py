"""The reader that myst-nb calls on each page: today's prose and code, joined with the stored outputs by cell name.

Each cell is shown once, with its full-size output where there is one, else the reduced; verdicts are shown at both
sizes; the figure of the other size stands behind a fold. A page without code passes through as one Markdown cell.
"""

import atexit
import copy
import functools
import html
import re
import sys
from pathlib import Path

from lib import paths
from lib.book import front, glossary, ledger, reference, results, runner
from lib.book.listing import listings
from lib.book.pages import Page, chapters, checked, is_chapter
from lib.errors import BookError
from lib.evidence import digest

BOTH = ("verdict", "say")
FOLDS = {"How this page runs": ("imports", "parameters", "run"),  # names of cells that stand behind one line
         "Record: what is covered, by which claims, and what made this page": ("coverage", "report", "provenance")}
FOLD = {"book": "fold"}  # metadata of a cell that is no part of the page
executed: dict = {}  # notebooks to download, by the path of the page that was read in this process
_last_words: list[str] = []


def _say_last() -> None:
    for line in _last_words:
        print(line, file=sys.stderr)


atexit.register(_say_last)


def read(text: str):
    """Notebook of a page for myst-nb (``nb_custom_formats`` in ``_config.yml``)."""
    import nbformat
    try:
        if not is_chapter(text):
            return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(fill(text))])
        page = page_of(text)
        runner.update([page])
        notebook = joined(page)
        notebook.metadata["source_map"] = _lines(text, notebook.cells)  # so that a warning names a line of the page
        executed[page.path] = nbformat.writes(_named_only(notebook))
        return notebook
    except BookError as e:
        _last_words.extend(["", *str(e).splitlines()])
        raise


def page_of(text: str) -> Page:
    """The chapter with this text."""
    known = chapters()
    for page in known:
        if page.text == text:
            return page
    probe = Page(paths.home() / "book" / "unknown.md", text)
    return next((Page(p.path, text) for p in known if p.slug == probe.slug), probe)


def fill(text: str) -> str:
    """A plain page with its generated parts: ``<!-- ledger -->``, ``<!-- chapters -->`` and ``<!-- notions -->``."""
    if "<!-- ledger -->" in text or "<!-- chapters -->" in text:
        runner.update(chapters())
    if "<!-- ledger -->" in text:
        text = text.replace("<!-- ledger -->", ledger.markdown(ledger.collect(built=True)))
    if "<!-- chapters -->" in text:
        text = text.replace("<!-- chapters -->", front.markup(ledger.collect(built=True)))
    if "<!-- notions -->" in text:
        text = text.replace("<!-- notions -->", glossary.notions(text, chapters()))
    return text


def _named(notebook: dict) -> dict[str, list[dict]]:
    return {c["metadata"].get("name"): c.get("outputs", []) for c in notebook["cells"]}


def _kinds(outputs: list[dict]) -> set[str]:
    return {results.facts(o).get("kind") for o in outputs}


def joined(page: Page):
    """The page with the outputs of its two results, as a notebook."""
    import jupytext
    import nbformat
    notebook = jupytext.reads(page.text, fmt="md:myst")
    found = {size: results.find(page, size) for size in results.SIZES}
    outputs = {size: _named(r.notebook) for size, r in found.items()}
    claims = next(c for c in ledger.collect([page], built=True)["chapters"])
    cells, count, listed, boxed = [], 0, [], set()  # experiments listed on the page, claims judged in the section
    for cell in notebook.cells:
        cells.append(cell)
        boxed = set() if _heading(cell) else boxed
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        name = cell.metadata["name"]
        reduced, full = (copy.deepcopy(outputs[size].get(name, [])) for size in results.SIZES)
        shown, folded, size = choose(reduced, full)
        shown = _unsaid(cell, shown, boxed)
        if "assertions" in _kinds(shown):
            text = "\n".join(f"{a['id']} {a['verdict']}: {a['statement']}" for a in claims["assertions"])
            shown = [_html(ledger.assertion_table([claims]), text)]
        if "claims" in _kinds(shown):
            text = ledger.headline({"chapters": [claims]})
            shown = [_html(f"<p>{html.escape(text)}</p>" + ledger.table([claims]), text)]
        beside = []
        if _figure(shown):
            _caption(cell, shown, size)
            beside = [o for o in shown if results.facts(o).get("kind") != "figure"]
            shown = [o for o in shown if results.facts(o).get("kind") == "figure"]
        cell.outputs = [nbformat.from_dict(o) for o in shown]
        if beside:
            cells.append(_unnamed(beside, "# beside the figure", ["remove-input"], {}))
        new = [text for text in listings(page, cell.source) if text not in listed]
        cells += [nbformat.v4.new_markdown_cell(text, metadata=dict(FOLD)) for text in new]
        listed += new
        if folded:
            alt = (_figure(folded) or {"alt": "figure"})["alt"]
            cells.append(_unnamed(folded, "# the same figure at the other size", ["remove-input", "hide-output"],
                                  {"code_prompt_show": "Show the figure at reduced size",
                                   "code_prompt_hide": "Hide it", "image": {"alt": f"Reduced size: {alt}"}}))
    notebook.cells = _opened(_folded(cells), front.opening(page, claims))
    return notebook


def _opened(cells: list, picture: str) -> list:
    """The cells with the picture that stands for the chapter below its answer, the paragraph after the one on the paper."""
    import nbformat
    blocks = cells[0].source.split("\n\n", 3)  # title, paper, answer
    if not picture or cells[0].cell_type != "markdown" or not blocks[0].startswith("# ") or len(blocks) < 4:
        return cells
    new = nbformat.v4.new_markdown_cell
    return [new("\n\n".join(blocks[:3])), new(picture, metadata=dict(FOLD)), new(blocks[3]), *cells[1:]]


def _folded(cells: list) -> list:
    """The cells with those that set the page up, and those of its record, behind a line each; none is moved."""
    import nbformat
    for line, names in FOLDS.items():
        at = [i for i, c in enumerate(cells) if c.cell_type == "code" and c.metadata.get("name") in names]
        if not at or any(map(_heading, cells[at[0]:at[-1]])):
            continue
        opens, closes = (nbformat.v4.new_markdown_cell(x, metadata=dict(FOLD)) for x in
                         (f'<details class="book-setup"><summary>{line}</summary>', "</details>"))
        cells = [*cells[:at[0]], opens, *cells[at[0]:at[-1] + 1], closes, *cells[at[-1] + 1:]]
    return cells


def _heading(cell) -> bool:
    return cell.cell_type == "markdown" and bool(re.search(r"^#+ ", cell.source, re.M))


def _unsaid(cell, shown: list[dict], boxed: set[str]) -> list[dict]:
    """Outputs of a cell without sentences on claims whose box stands in the same section; a cell that only said them goes."""
    boxed |= {results.facts(o)["id"] for o in shown if results.facts(o).get("kind") == "verdict"}
    left = [o for o in shown if not (results.facts(o).get("kind") == "say" and results.facts(o)["id"] in boxed)]
    if shown and not left:
        cell.metadata["tags"] = [*cell.metadata.get("tags", []), "remove-cell"]
    return left


def choose(reduced: list[dict], full: list[dict]) -> tuple[list[dict], list[dict], str]:
    """Outputs to show, the other size's figure to fold away, and the size of the figure that is shown."""
    if "pending" in _kinds(full) or not full:
        return _paired(reduced, []) + [o for o in full if results.facts(o).get("kind") == "pending"], [], "reduced"
    shown = _paired(full, reduced)
    if reduced and (_figure(full) or "interactive" in _kinds(full)):
        return shown, [o for o in reduced if results.facts(o).get("kind") in ("figure", "table")], "full"
    return shown, [], "full"


def _paired(shown: list[dict], other: list[dict]) -> list[dict]:
    """Outputs of one size; each verdict in one box for both, each sentence after the other size's where they differ."""
    out = []
    for o in shown:
        f = results.facts(o)
        twin = next((r for r in other if results.facts(r).get("kind") == f.get("kind") in BOTH
                     and results.facts(r)["id"] == f["id"]), None)
        if f.get("kind") == "verdict":
            sides = {results.facts(x)["size"]: results.facts(x) for x in (twin, o) if x is not None}
            out.append({**o, "data": {**o["data"], "text/html": ledger.verdict_box(sides)}})
        else:
            out += [twin, o] if twin is not None and twin["data"]["text/plain"] != o["data"]["text/plain"] else [o]
    return out


def _figure(outputs: list[dict]) -> dict | None:
    return next((results.facts(o) for o in outputs if results.facts(o).get("kind") == "figure"), None)


def _caption(cell, outputs: list[dict], size: str) -> None:
    """Append size and seeds to the caption and set the text alternative from the run."""
    facts = _figure(outputs)
    options = cell.metadata.setdefault("mystnb", {})
    options.setdefault("image", {})["alt"] = facts["alt"]
    notes = [size] + ([f"{facts['seeds']} seed{'s' * (facts['seeds'] > 1)}"] if facts.get("seeds") else []) + \
        ([facts["interval"]] if facts.get("interval") else [])
    figure = options["figure"]
    figure["caption"] = f"{figure['caption'].rstrip('.')} ({', '.join(notes)})."


def _html(markup: str, text: str) -> dict:
    return {"output_type": "display_data", "metadata": {}, "data": {"text/html": markup, "text/plain": text}}


def _unnamed(outputs: list[dict], comment: str, tags: list[str], options: dict):
    """A cell that only shows outputs; myst-nb drops cells with empty source and wraps all outputs of a figure cell."""
    import nbformat
    out = nbformat.v4.new_code_cell(comment, metadata={"tags": tags, "mystnb": options})
    out.outputs = [nbformat.from_dict(o) for o in outputs]
    return out


def _named_only(notebook):
    """A joined notebook as readers download it: named code cells and prose only."""
    out = copy.copy(notebook)
    out.metadata = {k: v for k, v in notebook.metadata.items() if k != "source_map"}
    out.cells = [c for c in notebook.cells if (c.metadata.get("name") if c.cell_type == "code" else c.metadata != FOLD)]
    return out


def download(page: Page) -> str:
    """The notebook of a page as readers download it."""
    import nbformat
    return executed.get(page.path) or nbformat.writes(_named_only(joined(page)))


def _lines(text: str, cells: list) -> list[int]:
    """Line of the page, from 0, on which each cell of its notebook begins; a cell that was added has its neighbour's."""
    out, at = [], 0
    for cell in cells:
        found = text.find(cell.source, at) if cell.cell_type != "code" or cell.metadata.get("name") else -1
        at = found if found >= 0 else at
        out.append(text.count("\n", 0, at))
    return out


def stamp(path: Path) -> str:
    """What the page's joined result depends on besides its own text; it changes when the page must be read again."""
    text = path.read_text(encoding="utf-8")
    if is_chapter(text):
        pages = [checked(path, text)]
    elif "<!-- ledger -->" in text or "<!-- chapters -->" in text:
        pages = chapters()
    elif "<!-- notions -->" in text:
        return digest(*_machinery(), *(p.text for p in chapters()))
    else:
        return ""
    parts = list(_machinery())
    for p in pages:
        parts += [p.title, *(results.key(p, size) for size in results.SIZES)]
        parts += [f.read_text() for f in (reference.file(p.slug), paths.records(p.slug) / "claims.json") if f.is_file()]
    return digest(*parts)


@functools.cache
def _machinery() -> list[str]:
    return [f.read_text() for f in sorted(Path(__file__).parent.glob("*.py"))]
