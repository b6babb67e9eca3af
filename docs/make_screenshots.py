"""Takes the screenshots of docs/guides/report.md: reports at 1280 and 390 pixels, and a notebook after `kt.train`.

    python docs/make_screenshots.py --cifar RUN     # a finished run on CIFAR-10
    python docs/make_screenshots.py --photos        # trains transfer/photos on crops of scikit-learn's two photographs
    python docs/make_screenshots.py --notebook      # needs nbconvert, nbclient, ipykernel

It needs a Chromium, which it starts without a window. The photographs are those of docs/make_pictures.py.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTHS = (1280, 390)
CELL = """import keras_tricks as kt

run = kt.train("quickstart")
run"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar", type=pathlib.Path, metavar="RUN")
    parser.add_argument("--photos", action="store_true")
    parser.add_argument("--notebook", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        if args.cifar:
            (scratch / "runs").mkdir()
            (scratch / "runs" / "cifar10").symlink_to(args.cifar.resolve())
            report("cifar10", 1500, scratch)  # without the images of the data set
        if args.photos:
            train_photos(scratch)
            report("photos", 2900, scratch)
        if args.notebook:
            notebook(scratch)


def report(name, height, scratch):
    """Screenshots of the report of `runs/<name>`, the upper `height` pixels."""
    page = scratch / f"{name}.html"
    command(scratch, "report", f"runs/{name}", "--output", page)
    for width in WIDTHS:
        shoot(page, IMAGES / f"report_{name}_{width}.webp", width, height)


def train_photos(scratch):
    """`runs/photos`: transfer/photos on crops of two photographs, without pretrained weights."""
    from sklearn.datasets import load_sample_image

    for label in ("china", "flower"):
        photo = load_sample_image(f"{label}.jpg")
        for number in range(60):
            top, left = 8 * (number % 10) + 120, 75 * (number // 10)
            folder = scratch / "photos" / ("val" if number % 5 == 0 else "train") / label
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo[top : top + 160, left : left + 160]).save(folder / f"{number:02}.jpg", quality=90)
    changes = ["model.name=resnet18d", "data.image_size=64", "data.short_side=73", "schedule.epochs=4",
               "schedule.warmup_epochs=0.5", "schedule.batch_size=16", "export.formats=[]"]
    words = [word for change in changes for word in ("--set", change)]
    command(scratch, "train", "transfer/photos", "--data-dir", "photos", "--output", "runs/photos", *words)


def notebook(scratch):
    """A notebook whose only cell trains quickstart, run by a kernel and shown as a page."""
    import nbclient
    import nbconvert
    import nbformat

    hidden = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(hidden), nbformat.v4.new_code_cell(CELL)])
    nbclient.NotebookClient(book, timeout=600, kernel_name="python3",
                            resources={"metadata": {"path": str(scratch)}}).execute()
    del book.cells[0]
    book.cells[0].execution_count = 1
    for output in book.cells[0].outputs:
        if "execution_count" in output:
            output.execution_count = 1
    book.cells[0].outputs = [output for output in book.cells[0].outputs if output.output_type != "stream"]
    text, _ = nbconvert.HTMLExporter().from_notebook_node(book)
    (scratch / "notebook.html").write_text(text, encoding="utf-8")
    shoot(scratch / "notebook.html", IMAGES / "notebook.webp", 1280, 1000)


def command(folder, *words):
    """Runs a command of this checkout in a folder, so that its pages have short names."""
    subprocess.run([sys.executable, "-m", "keras_tricks", *map(str, words)], check=True, cwd=folder,
                   env={**os.environ, "PYTHONPATH": str(ROOT)})


def shoot(page, path, width, height):
    """A picture of the top of a page, without the empty rows below it.

    A window has a least width, so the page is shown in a frame of the width that is wanted.
    """
    frame = page.with_name(f"frame_{width}.html")
    frame.write_text(f'<style>body{{margin:0}}</style><iframe src="{page.name}" width="{width}" height="{height}" '
                     'frameborder="0" scrolling="no"></iframe>')
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit(f"No browser: {', '.join(BROWSERS)}.")
    picture = page.with_name(f"{path.stem}.png")
    subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                    "--allow-file-access-from-files", "--virtual-time-budget=2000",
                    f"--window-size={max(width, 600)},{height}", f"--screenshot={picture}", frame.as_uri()],
                   check=True, capture_output=True)
    image = Image.open(picture).convert("RGB").crop((0, 0, width, height))
    bottom = image.getbbox() and Image.eval(image.convert("L"), lambda value: 255 if value < 250 else 0).getbbox()
    image = image.crop((0, 0, width, min(height, bottom[3] + 20))) if bottom else image
    path.parent.mkdir(exist_ok=True)
    image.save(path, quality=70, method=6)
    print(f"{path.relative_to(ROOT)}: {image.width} x {image.height} pixels, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
