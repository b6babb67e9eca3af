"""The sections of the page: functions of `Collected` that return HTML text, empty if there is nothing to show."""

import html
import math
import pathlib

import numpy as np

from keras_tricks.analysis import negative_log_likelihood, wilson_interval
from keras_tricks.report import charts
from keras_tricks.run.environment import PACKAGES
from keras_tricks.utils.summary import LINES, best_row, score_of
from keras_tricks.utils.text import printable

MATRIX = 20  # classes up to which the confusion matrix is a table of numbers
HEAT_MAP = 250  # largest number of rows of the heat map
SHOWN = 24  # images of a gallery
CLASS_ROWS = 60  # classes that the table of the page shows
PAIRS = 15  # most frequent mistakes
REJECTED = 200  # lines that the page shows


def head(found):
    """Title, state, the most important numbers and what is missing."""
    kept, about = found.kept, found.kept.recipe.about
    lines = [f"<h1>{_text(kept.recipe.name)}</h1>",
             f'<p class="soft">{_text(kept.folder)} · {_text(kept.state)}'
             + (f" · {_text(about.paper)}" if about.paper else "") + "</p>"]
    tiles = _tiles(found)
    lines.append('<div class="tiles">' + "".join(
        f"<div>{_text(label)}<b>{_text(value)}</b><span class=soft>{_text(more)}</span></div>"
        for label, value, more in tiles) + "</div>")
    if found.answers is not None:
        lines.append(f'<p class="soft">Measured on {_text(found.data)}, with the weights {_text(found.weights)}.</p>')
    lines += [f'<p class="note">{_text(sentence)}</p>' for sentence in found.missing]
    return "\n".join(lines)


def _tiles(found):
    kept, answers = found.kept, found.answers
    if answers is not None:
        n, correct = len(answers.labels), int(answers.correct.sum())
        low, high = wilson_interval(correct, n)
        yield "top-1", f"{100 * correct / n:.2f} %", f"95 % interval {100 * low:.2f} to {100 * high:.2f}"
        if len(answers.class_names) > 5:
            yield "top-5", f"{100 * answers.top5:.2f} %", ""
        broken = answers.split.num_examples - n
        yield "images", f"{n:,}", f"{broken:,} cannot be read" if broken else f"{len(answers.class_names):,} classes"
        yield "calibration error", f"{100 * answers.reliability().error:.2f} %", "ECE, 15 bins"
    best = best_row(kept.rows)
    if best is not None:
        name, score = score_of(best)
        yield "best epoch", best["epoch"], f"{name} {float(score):.2f} % in the run"
    if kept.rows:
        minutes = sum(value for value in kept.numbers("seconds") if math.isfinite(value)) / 60
        yield "time", f"{minutes:,.1f} min", f"{len(kept.rows):,} epochs"


def curves(found):
    """Loss, accuracy, learning rate and batch size over the epochs."""
    kept = found.kept
    if not kept.rows:
        return "<p>No epoch has finished yet.</p>"
    epochs, numbers = kept.numbers("epoch"), kept.numbers
    drawn = [
        charts.line_chart("loss", "epoch", epochs, {"training (augmented, smoothed)": numbers("train_loss"),
                                                    "validation": numbers("val_loss")}),
        charts.line_chart("validation accuracy, %", "epoch", epochs, {
            label: numbers(column) for column, label in LINES.items() if column in kept.rows[0]}),
        charts.line_chart("learning rate at the end of the epoch", "epoch", epochs, {"learning rate": numbers("lr")}),
        charts.line_chart("batch size", "epoch", epochs, {"batch size": numbers("batch_size")}, low=0),
    ]
    text = f'<div class="charts">{"".join(drawn)}</div>'
    if best_row(kept.rows) is None:
        text += "<p>The run has not evaluated any epoch: there is no validation accuracy over time.</p>"
    return text


def classes(found):
    """A table of the classes, the worst first."""
    if found.answers is None:
        return ""
    images, correct = found.answers.by_class()
    seen = np.flatnonzero(images)
    order = seen[np.argsort(correct[seen] / images[seen], kind="stable")]
    names, rows = found.answers.class_names, []
    for i in order[:CLASS_ROWS]:
        share, (low, high) = correct[i] / images[i], wilson_interval(int(correct[i]), int(images[i]))
        bar = (f'<div class="bar"><i style="left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"></i>'
               f'<b style="left:calc({100 * share:.1f}% - 1px)"></b></div>')
        rows.append(f'<tr><td class="name">{_text(names[i])}</td><td class="n">{100 * share:.1f} %</td>'
                    f'<td class="bars">{bar}</td><td class="n">{100 * low:.1f} to {100 * high:.1f}</td>'
                    f'<td class="n">{images[i]:,}</td></tr>')
    more = f" The {CLASS_ROWS} worst of {len(seen):,}; per_class.csv has all." if len(seen) > CLASS_ROWS else ""
    none = len(names) - len(seen)
    more += f" Classes without an image: {none:,}." if none else ""
    return (f'<p class="soft">The worst first, with the 95 % interval of Wilson.{more}</p><div class="scroll">'
            '<table class="wide"><tr><th>class</th><th class="n">top-1</th><th></th><th class="n">interval, %</th>'
            f'<th class="n">images</th></tr>{"".join(rows)}</table></div>')


def confusion(found):
    """The matrix as a table of few classes, as a heat map of many; and the most frequent mistakes."""
    if found.answers is None:
        return ""
    counts, names = found.answers.confusion, found.answers.class_names
    if len(names) <= MATRIX:
        text = _matrix(counts.matrix(), names)
    else:
        matrix = counts.matrix(HEAT_MAP)
        block = -(-len(names) // HEAT_MAP)
        cells = "a class" if block == 1 else f"a block of {block} classes"
        text = (f'<img class="heat" alt="confusion matrix" src="{charts.heat_map(matrix)}"><p class="soft">Each row is '
                f"{cells} by label, each column by prediction, in the order of the classes; darker is more "
                "images, on a logarithmic scale.</p>")
    pairs = "".join(f'<tr><td class="name">{_text(names[label])}</td><td class="name">{_text(names[other])}</td>'
                    f'<td class="n">{images:,}</td></tr>' for label, other, images in counts.pairs(PAIRS))
    if not pairs:
        return text + "<p>No image is classified wrongly.</p>"
    return (f'{text}<h3>Most frequent mistakes</h3><div class="scroll"><table><tr><th>label</th><th>predicted</th>'
            f'<th class="n">images</th></tr>{pairs}</table></div>')


def _matrix(matrix, names):
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    header = "".join(f'<th scope="col">{_text(name)}</th>' for name in names)
    rows = []
    for i, name in enumerate(names):
        cells = "".join(f'<td style="background:rgba({"44,122,63" if i == j else "179,32,44"},{0.75 * share:.2f})">'
                        f'{matrix[i, j] or ""}</td>' for j, share in enumerate(shares[i]))
        rows.append(f'<tr><th scope="row">{_text(name)}</th>{cells}</tr>')
    return ('<p class="soft">Rows are labels, columns predictions; a colour is the share of its row.</p>'
            f'<div class="scroll"><table class="matrix"><thead><tr><td></td>{header}</tr></thead>'
            f'<tbody>{"".join(rows)}</tbody></table></div>')


def calibration(found):
    """Reliability diagrams before and after a temperature, and their errors."""
    if found.answers is None:
        return ""
    answers, t = found.answers, found.answers.temperature
    before, after = answers.reliability(), answers.reliability(t)
    losses = [negative_log_likelihood(answers.logits, answers.labels, value) for value in (1.0, t)]
    diagram = charts.reliability_chart("accuracy at each confidence, %",
                                       {"as trained": before, f"temperature {t:.3f}": after})
    return (f'<div class="charts">{diagram}{charts.histogram("share of the images, %", before)}</div>'
            f"<p>The expected calibration error (ECE, 15 bins) is {100 * before.error:.2f} %. Logits divided by the "
            f"temperature {t:.3f} have {100 * after.error:.2f} %; the negative log-likelihood changes from "
            f"{losses[0]:.4f} to {losses[1]:.4f}. The temperature is fitted to these same images, so its error "
            "on other images is somewhat larger. It changes no predicted class. Label smoothing and mixup "
            "lower the confidence of a network, which a temperature below 1 raises again.</p>")


def mistakes(found):
    """The wrong answers with the highest confidence."""
    if found.answers is None:
        return ""
    return _gallery(found, found.answers.mistakes(SHOWN)) or "<p>No image is classified wrongly.</p>"


def uncertain(found):
    """The answers with the lowest confidence."""
    return "" if found.answers is None else _gallery(found, found.answers.uncertain(SHOWN))


def suspicious(found):
    """The labels that are probably wrong."""
    if found.answers is None:
        return ""
    positions, _ = found.answers.issues
    if not len(positions):
        return "<p>None.</p>"
    return (f'<p class="soft">{len(positions):,} of {len(found.answers.labels):,} labels that the network contradicts '
            "with confidence (confident learning), the most suspicious first. Some labels are wrong, at others the "
            f"network is. keras-tricks data check finds repeated images.</p>{_gallery(found, positions[:SHOWN])}")


def _gallery(found, positions):
    answers, items = found.answers, []
    for i in positions:
        label, predicted = answers.class_names[answers.labels[i]], answers.class_names[answers.predicted[i]]
        mark = "" if answers.correct[i] else ' class="wrong"'
        path = answers.path(i)
        image = _image(found.pictures.get(int(answers.numbers[i]), ""), path)
        name = pathlib.PurePath(path).name if path else f"image {answers.numbers[i]:,}"
        items.append(f"<div>{image}<b{mark}>{_text(predicted)} {100 * answers.confidences[i]:.1f} %</b><br>label: "
                     f'{_text(label)}<br><span class="soft">{_text(name)}</span></div>')
    return f'<div class="gallery">{"".join(items)}</div>' if items else ""


def _image(url, path):
    text = f'<img alt="" loading="lazy" src="{url}"{" class=tiny" if "image/png" in url else ""}>' if url else \
        '<span class="none"></span>'
    link = pathlib.Path(path).absolute() if path else None
    return f'<a href="{html.escape(_file_url(link))}">{text}</a>' if link and link.is_file() else text


def _file_url(path):
    try:
        return path.as_uri()
    except (ValueError, UnicodeError):
        return "#"


def training_images(found):
    """A batch after augmentation and mixing."""
    if not found.training:
        return ""
    items = []
    for url, labels in found.training:
        shown = ", ".join(f"{_text(name)} {share:.2f}" if share < 0.995 else _text(name) for name, share in labels)
        items.append(f"<div>{_image(url, '')}{shown}</div>")
    return ('<p class="soft">The first images of the first epoch, augmented; mixed with each other if the recipe '
            f'mixes.</p><div class="gallery">{"".join(items)}</div>')


def rejected(found):
    """Images and files that are not used."""
    if not found.rejected:
        return "<p>None.</p>"
    more = len(found.rejected) - REJECTED
    lines = "\n".join(_text(line) for line in found.rejected[:REJECTED])
    return f"<pre>{lines}</pre>" + (f"<p>And {more:,} more.</p>" if more > 0 else "")


def speed(found):
    """Images per second and the share of the time spent waiting for them."""
    kept = found.kept
    if not kept.rows:
        return ""
    epochs, waits = kept.numbers("epoch"), [100 * wait for wait in kept.numbers("data_wait")]
    drawn = [charts.line_chart("training images per second", "epoch", epochs,
                               {"images per second": kept.numbers("images_per_s")}, low=0),
             charts.line_chart("share of the training time spent waiting for images, %", "epoch", epochs,
                               {"data wait": waits}, low=0),
             charts.line_chart("seconds per epoch", "epoch", epochs, {"seconds": kept.numbers("seconds")}, low=0)]
    return f'<div class="charts">{"".join(drawn)}</div>'


def recipe(found):
    """The recipe and the environment of the run."""
    kept, environment = found.kept, found.kept.environment
    rows = [(key, environment[key]) for key in ("python", "platform", "cpus", "devices", "backend")
            if key in environment]
    versions = environment.get("versions") or {}
    rows += [(package, versions[package]) for package in PACKAGES if versions.get(package)]
    shown = "".join(f'<tr><td>{_text(key)}</td><td class="name">{_text(_value(value))}</td></tr>'
                    for key, value in rows)
    table = f'<div class="scroll"><table>{shown}</table></div>' if shown else "<p>env.json is missing.</p>"
    text = _text(kept.recipe.to_json(), lines=True)
    return f"{table}<details><summary>recipe.json</summary><pre>{text}</pre></details>"


def files(found, path):
    """Links to the tables."""
    links = ", ".join(f'<a href="{html.escape(file.relative_to(path.parent).as_posix())}">{file.name}</a>'
                      for file in found.files)
    return f'<p class="soft">Tables: {links}</p>' if links else ""


def _value(value):
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _text(value, lines=False):
    """Text for HTML. Names of files may hold bytes that are no text."""
    return html.escape("\n".join(map(printable, str(value).splitlines())) if lines else printable(str(value)))
