"""Letters drawn from the DejaVu fonts that matplotlib ships: many classes with a true hierarchy, and nothing to download.

Style > letter > script. Letters with diacritics, ligatures and mirror images are left out, and of letters that look
alike across scripts (Latin A, Greek Alpha, Cyrillic A) the first in code-point order is kept.
"""

import functools
import hashlib
import unicodedata
from pathlib import Path

import numpy as np

VERSION = "glyphs 1"
SIZE = 24
FACES = {"DejaVuSans": ("", "-Bold", "-Oblique", "-BoldOblique"),
         "DejaVuSansMono": ("", "-Bold", "-Oblique", "-BoldOblique"),
         "DejaVuSerif": ("", "-Bold", "-Italic", "-BoldItalic")}
STYLES = [family + face for family, faces in FACES.items() for face in faces]
SCRIPTS = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN", "HEBREW", "CANADIAN", "TIFINAGH", "LISU", "LAO", "ARABIC",
           "NKO", "OLD")
DERIVED = (" WITH ", "LIGATURE", "DIGRAPH", "TURNED", "REVERSED", "SIDEWAYS")
ALIKE = 0.90


def _files() -> list[Path]:
    import matplotlib
    return [Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{s}.ttf" for s in STYLES]


@functools.cache
def digest() -> str:
    """Hash of the twelve font files, 16 digits."""
    h = hashlib.sha256()
    for f in _files():
        h.update(f.read_bytes())
    return h.hexdigest()[:16]


def _script(letter: str) -> str | None:
    name = unicodedata.name(letter, "")
    plain = unicodedata.category(letter) in ("Lu", "Ll", "Lo") and not unicodedata.decomposition(letter)
    word = name.split(" ")[0]
    return word if plain and word in SCRIPTS and not any(d in name for d in DERIVED) else None


def _picture(letter: str, font) -> np.ndarray | None:
    """The letter in a box of SIZE - 6 pixels, centred; None where the font draws nothing."""
    from PIL import Image, ImageDraw
    left, top, right, bottom = font.getbbox(letter)
    width, height = right - left, bottom - top
    if width < 1 or height < 1:
        return None
    tight = Image.new("L", (width, height))
    ImageDraw.Draw(tight).text((-left, -top), letter, fill=255, font=font)
    scale = (SIZE - 6) / max(width, height)
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    out = Image.new("L", (SIZE, SIZE))
    out.paste(tight.resize(shape, Image.Resampling.BILINEAR), ((SIZE - shape[0]) // 2, (SIZE - shape[1]) // 2))
    picture = np.asarray(out)
    return picture if picture.any() else None


def draw() -> dict[str, np.ndarray]:
    """Arrays x [n, 24, 24] uint8, y [n], style [n], letters [classes] as code points, parent [classes], parents."""
    from fontTools.ttLib import TTFont
    from PIL import ImageFont
    fonts = [ImageFont.truetype(str(f), 40) for f in _files()]
    covered = []
    for f in _files():
        with TTFont(f, lazy=True) as t:
            covered.append(frozenset(t.getBestCmap()))
    kept = np.empty((0, SIZE * SIZE))
    x, y, style, letters, parent = [], [], [], [], []
    for code in sorted(frozenset().union(*covered)):
        script = _script(chr(code))
        if script is None:
            continue
        drawn = [(k, p) for k, (font, has) in enumerate(zip(fonts, covered)) if code in has
                 and (p := _picture(chr(code), font)) is not None]
        if not drawn:
            continue
        look = drawn[0][1].ravel().astype(float)
        look = look - look.mean()
        look /= np.linalg.norm(look)
        if len(kept) and (kept @ look).max() > ALIKE:
            continue
        kept = np.vstack([kept, look])
        for k, p in drawn:
            x.append(p)
            y.append(len(letters))
            style.append(k)
        letters.append(code)
        parent.append(SCRIPTS.index(script))
    return {"x": np.stack(x), "y": np.array(y), "style": np.array(style), "letters": np.array(letters),
            "parent": np.array(parent), "parents": np.array(SCRIPTS)}
