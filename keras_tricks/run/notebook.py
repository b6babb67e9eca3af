"""What notebooks show: one bar with live curves during `kt.train`, and its result as HTML."""

import base64
import html
import sys
import time

import keras

from keras_tricks.run.folder import is_run, recipe_of
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.summary import best_row, draw_curves, read_summary, score_of

BAR_SECONDS, CURVES_SECONDS = 0.5, 5.0  # least time between two updates


def in_notebook():
    """Whether the process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return getattr(shell, "kernel", None) is not None


class LiveDisplay(keras.callbacks.Callback):
    """Shows one bar over the whole run with the newest numbers, and the curves of the epochs so far.

    It must follow `RunLog` in the list given to `fit`.

    Args:
        folder: run folder, whose `curves.png` it draws while the run goes on.
        name: name of the recipe.
        epochs: integer, epochs of the run.
    """

    takes_tensors = True  # see `callbacks/callback_list.py`

    def __init__(self, folder, name, epochs):
        super().__init__()
        self.folder, self.name, self.epochs = folder, name, epochs
        self.handle = None
        self.epoch, self.shown, self.drawn = 0, 0.0, 0.0
        self.text, self.image = "starting", ""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self._show(0.0)

    def on_train_batch_end(self, batch, logs=None):
        if time.monotonic() - self.shown >= BAR_SECONDS:
            steps = self.params.get("steps") or 0
            numbers = _numbers(logs or {})
            self.text = f"step {batch + 1} of {steps}" + (f", {numbers}" if numbers else "")
            self._show((batch + 1) / steps if steps else 0.0)

    def on_epoch_end(self, epoch, logs=None):
        self.text = _numbers(logs or {})
        if time.monotonic() - self.drawn >= CURVES_SECONDS or epoch + 1 == self.epochs:
            self._draw()
        self._show(1.0)

    def on_train_end(self, logs=None):
        self._draw()
        self._show(1.0)

    def _draw(self):
        draw_curves(self.folder)
        self.image, self.drawn = _image(self.folder), time.monotonic()

    def _show(self, share):
        """Replaces what is shown; `share` is that of the epoch that is done."""
        from IPython.display import HTML, display

        bar = (f'<progress max="{self.epochs}" value="{self.epoch + share:.3f}" style="width:18em"></progress> '
               f"{html.escape(self.name)}: epoch {self.epoch + 1} of {self.epochs}; {html.escape(self.text)}")
        shown = HTML(f"<div>{bar}</div>{self.image}")
        if self.handle is None:
            self.handle = display(shown, display_id=True)
        else:
            self.handle.update(shown)
        self.shown = time.monotonic()


def _numbers(logs):
    """The loss and accuracies in the logs of a step or an epoch."""
    names = {"loss": "loss", "top1": "top-1", "val_loss": "validation loss", "val_top1": "validation top-1",
             "val_ema_top1": "of the average"}
    return ", ".join(f"{label} {100 * float(logs[key]):.1f} %" if "top1" in key else f"{label} {float(logs[key]):.3g}"
                     for key, label in names.items() if key in logs)


def _image(folder):
    """`curves.png` of a run folder as an `<img>`; empty if there is none."""
    path = folder / "curves.png"
    if not path.is_file():
        return ""
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="curves" style="max-width:100%" src="data:image/png;base64,{content}">'


def run_as_html(folder, history):
    """A table of the most important numbers, and the curves.

    Args:
        folder: run folder, or `None` after a dry run.
        history: dict, Keras' `History.history`.

    Returns:
        HTML text without scripts or requests. It never raises for a folder that was moved or is damaged.
    """
    rows, image = [], ""
    if folder is None:
        rows = [("run", "dry run: nothing was written")]
        rows += [(name, f"{values[-1]:.4g}") for name, values in history.items() if values]
    elif not is_run(folder):
        rows = [("run folder", f"{folder} is not there any more")]
    else:
        rows, image = _rows(folder), _image(folder)
    cells = "".join(f'<tr><th style="text-align:left">{html.escape(name)}</th>'
                    f'<td style="text-align:left">{html.escape(str(value))}</td></tr>' for name, value in rows)
    return f"<table>{cells}</table>{image}"


def _rows(folder):
    try:
        recipe, summary = recipe_of(folder), read_summary(folder)
    except UserError as error:
        return [("run folder", str(folder)), ("error", str(error))]
    rows = [("recipe", recipe.name), ("model", recipe.model.name),
            ("epochs", f"{len(summary)} of {recipe.schedule.epochs}")]
    best = best_row(summary)
    if best is not None:
        average = " (average of the weights)" if best["ema_top1"] else ""
        name, score = score_of(best)
        rows.append((f"best validation {name}", f"{float(score):.2f} %{average}, after epoch {best['epoch']}"))
    if summary:
        rows.append(("time", f"{sum(float(row['seconds'] or 0) for row in summary) / 60:.1f} minutes"))
    return [*rows, ("run folder", str(folder)), ("report", f"keras-tricks report {folder}")]
