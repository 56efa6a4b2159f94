"""Colour profiles made of what else tells a picture's colours: code points, or PNG's gamma and chromaticities. sRGB needs none."""

import io
import re
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import ImageCms

from ddpmcodec.errors import PictureError, printable

Chromaticities = tuple[tuple[float, float], ...]  # x, y of red, green, blue, white

D65, DCI, C = (0.3127, 0.329), (0.314, 0.351), (0.31, 0.316)
BT709: Chromaticities = ((0.64, 0.33), (0.3, 0.6), (0.15, 0.06), D65)
P3 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
PRIMARIES: dict[int, Chromaticities] = {  # of H.273; what is not here is taken for BT.709
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), C),
    5: ((0.64, 0.33), (0.29, 0.6), (0.15, 0.06), D65),
    6: ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07), D65),
    7: ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07), D65),
    9: ((0.708, 0.292), (0.17, 0.797), (0.131, 0.046), D65),
    11: (*P3, DCI),
    12: (*P3, D65),
}
GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}  # transfer functions of H.273; what is not here is taken for sRGB's, as browsers do for video's
HDR = {16: "PQ", 18: "HLG"}
SRGB = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # of a parametric curve: (a x + b)^g, or c x below d
SRGB_GAMMA = 1 / 0.45455  # PNG's way to say sRGB
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D50 = np.array([0.9642, 1.0, 0.8249])
LIBJXLS_SRGB = re.compile("sRGB|(RGB_D65_SRG|Gra_D65)_(Per|Rel|Sat|Abs)_SRG")  # the names of its profiles
SPACES = ("RGB", "GRAY")  # in which pictures are coded; the second where they are gray


def space_of(profile: bytes) -> str:
    """Return the name of a colour profile's space, fit to be printed."""
    return printable(profile[16:20].decode("latin-1").strip()) or "nothing"


def is_made_up(profile: bytes) -> bool:
    """Whether a profile is the one that libjxl makes for sRGB, of pictures that have none."""
    if profile[4:8] != b"jxl ":
        return False
    try:
        return LIBJXLS_SRGB.fullmatch(ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip()) is not None
    except (OSError, ImageCms.PyCMSError):
        return False


def of_codes(primaries: int, transfer: int, gray: bool) -> bytes:
    """Return the profile of code points of ITU-T H.273; b"" for sRGB.

    Raises:
        PictureError: they mean high dynamic range.
    """
    if transfer in HDR:
        raise PictureError(f"pictures of high dynamic range ({HDR[transfer]}) cannot be coded")
    return _profile(PRIMARIES.get(primaries, BT709), GAMMAS.get(transfer), gray)


def of_png(info: Mapping[Any, Any], gray: bool) -> bytes:
    """Return the profile of PNG's gAMA and cHRM, as Pillow has them in an image's info; b"" for sRGB, or none.

    Raises:
        ValueError: there can be no such colours.
    """
    if "srgb" in info or not ("gamma" in info or "chromaticity" in info):
        return b""
    stored = info.get("gamma", 1 / SRGB_GAMMA)
    if not 0.01 <= stored <= 100:
        raise ValueError(f"gamma {stored}")
    gamma = None if abs(stored * SRGB_GAMMA - 1) < 0.002 else 1 / stored
    values = info.get("chromaticity")
    if values is None:
        return _profile(BT709, gamma, gray)
    white, *rgb = zip(values[::2], values[1::2], strict=True)
    return _profile((*rgb, white), gamma, gray)


def _profile(chromaticities: Chromaticities, gamma: float | None, gray: bool) -> bytes:
    """Return an ICC profile, of version 4. `gamma` None is sRGB's curve."""
    if gamma is None and (gray or np.allclose(chromaticities, BT709, atol=0.001)):
        return b""
    values = SRGB if gamma is None else (gamma,)
    curve = b"para" + struct.pack(f">IHH{len(values)}i", 0, 3 if gamma is None else 0, 0, *map(_fixed, values))
    tags = {b"desc": _text("colours of the picture"), b"cprt": _text("none"), b"wtpt": _xyz(D50)}
    if gray:
        tags[b"kTRC"] = curve
    else:
        columns, adaptation = _columns(chromaticities)
        tags[b"chad"] = b"sf32" + struct.pack(">I9i", 0, *map(_fixed, adaptation.flat))
        for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns.T, strict=True):
            tags[name] = _xyz(column)
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return _assembled(tags, SPACES[gray].ljust(4).encode())


def _columns(chromaticities: Chromaticities) -> tuple[np.ndarray, np.ndarray]:
    """Return XYZ of red, green and blue as columns, (3, 3), adapted to D50, and the adaptation, (3, 3).

    Raises:
        ValueError: they span no colours.
    """
    x, y = np.array(chromaticities, float).T
    if (y <= 0).any():
        raise ValueError("chromaticities without light")
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    rgb, white = xyz[:, :3], xyz[:, 3]
    if abs(np.linalg.det(rgb)) < 1e-3:
        raise ValueError("chromaticities on a line")
    scaled = rgb * np.linalg.solve(rgb, white)
    adaptation = np.linalg.solve(BRADFORD, (BRADFORD @ D50 / (BRADFORD @ white))[:, None] * BRADFORD)
    adapted = adaptation @ scaled
    if np.abs(adapted).max() > 100 or np.abs(adaptation).max() > 100:
        raise ValueError("chromaticities out of reach")
    return adapted, adaptation


def _fixed(value: float) -> int:
    return round(value * 65536)


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ " + struct.pack(">I3i", 0, *map(_fixed, values))


def _text(text: str) -> bytes:
    return b"mluc" + struct.pack(">III2s2sII", 0, 1, 12, b"en", b"US", 2 * len(text), 28) + text.encode("utf-16-be")


def _assembled(tags: dict[bytes, bytes], space: bytes) -> bytes:
    """Return the profile of these tags; equal ones are there once."""
    begin = 128 + 4 + 12 * len(tags)
    table, body, places = b"", b"", {}
    for name, content in tags.items():
        if content not in places:
            places[content] = begin + len(body)
            body += content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", places[content], len(content))
    head = struct.pack(">I4sI4s4s4s", begin + len(body), b"", 0x04300000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H4s", 2024, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + struct.pack(">3i", *map(_fixed, D50)) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body
