"""Words with `code` and $mathematics$ as HTML. Needs the standard library alone, so that derivations may use it anywhere."""

import html
import re


def math(latex: str) -> str:
    """A formula that MathJax typesets, in the book and in JupyterLab."""
    return rf'<span class="math notranslate nohighlight">\({html.escape(latex, quote=False)}\)</span>'


def inline(text: str) -> str:
    """Escaped HTML of one line of words with `code` and $mathematics$."""
    out = []
    for i, piece in enumerate(re.split(r"(\$[^$]+\$|`[^`]+`)", text)):
        if i % 2 == 0:
            out.append(html.escape(piece))
        elif piece[0] == "$":
            out.append(math(piece[1:-1]))
        else:
            out.append(f"<code>{html.escape(piece[1:-1])}</code>")
    return "".join(out)
