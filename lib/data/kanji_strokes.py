"""Han characters drawn from the strokes of KanjiVG: thousands of classes, each under its radical.

Every character is drawn by several *hands*: strokes moved a little and of another width. The files are read with regular
expressions, since an XML parser takes forty seconds for them.
"""

import re
from pathlib import Path

import numpy as np

from lib.data.bounded import zipfile

VERSION = 1
SIZE, HANDS, SEED = 24, 4, 0
HAN = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0x20000, 0x3FFFF))  # unified ideographs
BOX, FINE = 109, 4  # the files' drawing box; oversampling
_TOKEN = re.compile(r"[MmCcSsLlHhVv]|-?(?:\d+\.?\d*|\.\d+)(?:[eE]-?\d+)?")
_NUMBERS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4}
_GROUP = re.compile(r"<g [^>]*kvg:radical=[^>]*>")
_STEPS = np.linspace(0, 1, 12)[1:, None]


def stroke(path: str) -> np.ndarray:
    """Points [k, 2] along an SVG path of one pen-down with lines and cubic curves; raises ValueError for another path."""
    tokens, at, pen, kind, handle, points = _TOKEN.findall(path), 0, np.zeros(2), "", None, []
    while at < len(tokens):
        if tokens[at].isalpha():
            kind, at = tokens[at], at + 1
        n = _NUMBERS[kind.upper()]
        values = [float(t) for t in tokens[at:at + n]]
        if len(values) < n:
            raise ValueError(f"the path {path[:40]!r} ends early")
        at += n
        base = pen if kind.islower() else np.zeros(2)
        if kind in "HhVv":
            end = pen.copy()
            axis = 0 if kind in "Hh" else 1
            end[axis] = base[axis] + values[0]
            ends = [end]
        else:
            ends = [base + values[i:i + 2] for i in range(0, n, 2)]
        if kind in "CcSs":
            a = ends[0] if kind in "Cc" else (2 * pen - handle if handle is not None else pen)
            b, end = ends[-2], ends[-1]
            t = _STEPS
            points.extend((1 - t)**3 * pen + 3 * (1 - t)**2 * t * a + 3 * (1 - t) * t**2 * b + t**3 * end)
            handle, pen = b, end
        else:
            handle, pen = None, ends[-1]
            points.append(pen)
            kind = {"M": "L", "m": "l"}.get(kind, kind)
    return np.array(points)


def radical(text: str) -> str:
    """The character's radical as the file names it, or an empty string."""
    found = _GROUP.search(text)
    if found is None:
        return ""
    named = dict(re.findall(r'kvg:(original|element)="([^"]*)"', found[0]))
    return named.get("original") or named.get("element", "")


def picture(strokes: list[np.ndarray], width: float, shifts: np.ndarray) -> np.ndarray:
    """The strokes as an image [24, 24], each moved by its shift [strokes, 2]; units of the drawing box."""
    from PIL import Image, ImageDraw
    scale = SIZE * FINE / BOX
    image = Image.new("L", (SIZE * FINE, SIZE * FINE))
    pen = ImageDraw.Draw(image)
    for points, shift in zip(strokes, shifts, strict=True):
        pen.line([tuple(p) for p in (points + shift) * scale], fill=255, width=max(1, round(width * scale)), joint="curve")
    return np.asarray(image.reduce(FINE))


def draw(file: Path) -> dict[str, np.ndarray]:
    """Arrays x [n, 24, 24] uint8, y [n], style [n] (the hand), letters [classes], parent [classes], parents."""
    rng = np.random.default_rng(SEED)
    x, letters, radicals = [], [], []
    with zipfile.ZipFile(file) as z:
        for name in sorted(z.namelist()):
            m = re.fullmatch(r"kanji/([0-9a-f]+)\.svg", name)
            if m is None or not any(first <= int(m[1], 16) <= last for first, last in HAN):
                continue
            text = z.read(name).decode()
            strokes = [stroke(d) for d in re.findall(r'<path [^>]*?\bd="([^"]+)"', text)]
            for _ in range(HANDS):
                x.append(picture(strokes, rng.uniform(4.0, 8.0), rng.normal(0, 1.5, (len(strokes), 2))))
            letters.append(int(m[1], 16))
            radicals.append(radical(text))
    parents, parent = np.unique(radicals, return_inverse=True)
    n = len(letters)
    return {"x": np.stack(x), "y": np.arange(n).repeat(HANDS), "style": np.tile(np.arange(HANDS), n),
            "letters": np.array(letters), "parent": parent, "parents": parents}
