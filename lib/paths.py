"""Where things lie: the book's root, its build folder, its store of evidence, its records."""

import os
from pathlib import Path


def root() -> Path | None:
    """Root of the book: ``BOOK_ROOT``, else the checkout that holds this file, else None (installed alone)."""
    if os.environ.get("BOOK_ROOT"):
        return Path(os.environ["BOOK_ROOT"]).resolve()
    here = Path(__file__).resolve().parents[1]
    return here if (here / "_toc.yml").is_file() else None


def home() -> Path:
    """Root of the book, or a folder of the user's cache where there is no checkout."""
    return root() or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "deep-learning-theory-executed"


def build() -> Path:
    """Folder of everything that can be made again."""
    return home() / "_build"


def store() -> Path:
    """Content-addressed store of evidence and chapter results; ``BOOK_STORE`` moves it."""
    return Path(os.environ["BOOK_STORE"]) if os.environ.get("BOOK_STORE") else build() / "store"


def records(slug: str) -> Path:
    """Folder of the committed evidence of one chapter's full run."""
    return home() / "book" / "records" / slug


def data() -> Path:
    """Folder of the downloaded data packages; ``BOOK_DATA`` moves it."""
    return Path(os.environ["BOOK_DATA"]) if os.environ.get("BOOK_DATA") else home() / ".data"
