"""Figures drawn without a display. matplotlib is imported when the first one is made."""

from keras_tricks.utils.atomic_files import atomic_write


def new_figure(width, height):
    """An empty `matplotlib` figure of that size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure, path, flag=None, dpi=110):
    """Writes a figure as a PNG in one step. `flag` as for `atomic_write`."""
    with atomic_write(path, flag) as partial:
        figure.savefig(partial, dpi=dpi)
