"""Colours for classes."""

from __future__ import annotations

import numpy as np

# Okabe and Ito's eight colours, which people with any common colour-blindness can tell apart; black is
# replaced by a dark blue. Source: M. Okabe, K. Ito, "Color Universal Design", 2002.
_OKABE_ITO = ("#1b1e2b", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")


def rgb(colour) -> tuple[int, int, int]:
    """``"#rrggbb"`` or three numbers from 0 to 255, as three ints.

    Raises
    ------
    ValueError
        If the value is neither.
    """
    if isinstance(colour, str):
        digits = colour.removeprefix("#")
        try:
            if len(digits) == 6:
                return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
        except ValueError:
            pass
    elif len(colour) == 3 and all(0 <= int(c) <= 255 for c in colour):
        return int(colour[0]), int(colour[1]), int(colour[2])
    raise ValueError(f"a colour is '#rrggbb' or three numbers from 0 to 255, not {colour!r}")


def palette(n: int) -> np.ndarray:
    """The colour map of Pascal VOC, uint8 of shape (n, 3).

    The bits of a label, lowest first, go to red, green and blue in turn and fill each channel from its highest
    bit down. Successive labels therefore get very different colours, and no two labels below 256 share one.
    Source: Pascal VOC development kit, ``VOClabelcolormap``.
    """
    if not 0 <= n <= 256:
        raise ValueError(f"palette: a palette has up to 256 colours, not {n}")
    labels = np.arange(n)
    colours = np.zeros((n, 3), np.uint8)
    for place in range(8):
        for channel in range(3):
            colours[:, channel] |= ((labels >> channel & 1) << (7 - place)).astype(np.uint8)
        labels = labels >> 3
    return colours


def class_palette(n: int) -> np.ndarray:
    """Colours for n classes, uint8 of shape (n, 3): safe for the colour-blind up to eight, then `palette`."""
    return np.array([rgb(c) for c in _OKABE_ITO[:n]], np.uint8).reshape(-1, 3) if n <= len(_OKABE_ITO) else palette(n)
