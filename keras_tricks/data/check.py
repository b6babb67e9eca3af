"""Looks at a data set before a run: what was found, what is missing, which images are broken, what to do next."""

from concurrent.futures import ThreadPoolExecutor

from keras_tricks.data.open_source import open_source
from keras_tricks.data.tfrecord import damaged


def check(source, data_dir=None):
    """Yields lines of text about a source. Raises `UserError` when it cannot be opened at all."""
    opened = open_source(source, data_dir)
    yield f"{opened.name}: {opened.num_classes} classes ({_few(opened.class_names)})"
    if source == "tfrecord":
        for path, why in damaged(data_dir):
            yield f"damaged     {path}: {why}"
    for name, split in (("training", opened.train), ("validation", opened.validation)):
        yield f"{name:<12}{split.num_examples:>9,} images"
        if split.bad is not None and source != "tfrecord":
            yield from _broken(split)


def _broken(split):
    from keras_tricks.data.image_folder import check_image

    def reason(path):
        try:
            check_image(path)
        except (OSError, ValueError, SyntaxError) as error:
            return path, str(error) or type(error).__name__
        return None

    with ThreadPoolExecutor() as pool:
        broken = [found for found in pool.map(reason, split.paths) if found]
    yield f"{'broken':<12}{len(broken):>9,}"
    for path, why in broken:
        yield f"  {path}: {why}"


def _few(names, count=5):
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")
