"""Figures as files: of the same trials the same bytes."""

import io

from matplotlib.figure import Figure

DOTS_PER_INCH = 180


def rendered(figure: Figure, kind: str) -> bytes:
    """The figure as `"png"` or `"pdf"`, without dates and versions inside.

    >>> rendered(Figure(), "png")[1:4]
    b'PNG'
    """
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None}}[kind]
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
    return buffer.getvalue()
