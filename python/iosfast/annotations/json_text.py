"""JSON as other tools indent it, but with its lists of points written at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

_STEP = "    "
_MARK = uuid4().hex


def indented(
    document: dict[str, Any], items: str, key: str, points: Sequence[NDArray[np.float64] | None]
) -> str:
    """Return ``json.dumps(document, indent=4, ensure_ascii=False)``, many times faster.

    Parameters
    ----------
    document : dict
    items, key : str
        ``document[items][i][key]`` is where the points i go; None leaves it as it is.
    points : sequence of ndarray, shape (N, 2)

    Returns
    -------
    str
    """
    marked = [
        entry if corners is None else {**entry, key: _MARK}
        for entry, corners in zip(document[items], points, strict=True)
    ]
    text = json.dumps({**document, items: marked}, indent=4, ensure_ascii=False)
    parts = text.split(f'"{_MARK}"')
    pieces = [_points(corners) for corners in points if corners is not None]
    assert len(parts) == len(pieces) + 1
    return "".join(a + b for a, b in zip(parts, [*pieces, ""], strict=True))


def _points(corners: NDArray[np.float64]) -> str:
    outer, pair, number = (_STEP * n for n in (3, 4, 5))
    inner = json.dumps(corners.tolist())[2:-2]
    inner = inner.replace("], [", f"\n{pair}],\n{pair}[\n{number}")
    inner = inner.replace(", ", f",\n{number}")
    return f"[\n{pair}[\n{number}{inner}\n{pair}]\n{outer}]"
