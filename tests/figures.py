"""Figures in tests that look at none: nothing is drawn, which takes half of a page's time."""

from plait.recordings import sync_picture
from plait.report import drawing

NOTHING = {
    "pdf": b"%PDF",
    "svg": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" '
    b'width="72pt" height="72pt" viewBox="0 0 72 72"><defs></defs></svg>',
}


def blank(figure, kind, metadata):
    """In the place of `drawing._save`: a figure in which nothing is drawn."""
    return NOTHING[kind]


def no_picture(folder, *_):
    """In the place of `sync_picture.draw`."""
    (folder / sync_picture.PICTURE).write_bytes(NOTHING["svg"])


def drawn_as_svg(whole, patch):
    """Have figures be drawn as SVG by `whole`, but not as PDF, where most time goes into fonts."""

    def svg(figure, kind, metadata):
        return (whole if kind == "svg" else blank)(figure, kind, metadata)

    svg.__module__ = drawing.__name__
    patch.setattr(drawing, "_save", svg)


blank.__module__ = drawing.__name__  # keys of code hold whatever module a name's value is from
no_picture.__module__ = sync_picture.__name__
