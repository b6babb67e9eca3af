"""A run as HTML, which notebooks show for the result of `kt.train`."""

import base64
import html

from keras_tricks.run.folder import is_run, recipe_of
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.summary import best_row, read_summary, top1_of


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
        rows = _rows(folder)
        if (folder / "curves.png").is_file():
            content = base64.b64encode((folder / "curves.png").read_bytes()).decode("ascii")
            image = f'<img alt="curves" style="max-width:100%" src="data:image/png;base64,{content}">'
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
        rows.append(("best validation top-1", f"{float(top1_of(best)):.2f} %{average}, after epoch {best['epoch']}"))
    if summary:
        rows.append(("time", f"{sum(float(row['seconds'] or 0) for row in summary) / 60:.1f} minutes"))
    return [*rows, ("run folder", str(folder)), ("report", f"keras-tricks report {folder}")]
