"""Draws figures without a display. matplotlib is imported with the first figure."""

from keras_tricks.utils.atomic_files import atomic_write


def new_figure(width, height):
    """An empty `matplotlib` figure; `width` and `height` are in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure, path, flag=None, dpi=110):
    """Writes a figure atomically as a PNG. `flag` is that of `atomic_write`."""
    with atomic_write(path, flag) as partial:
        figure.savefig(partial, dpi=dpi)
