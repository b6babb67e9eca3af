"""Makes pages of the site from the package: tricks, families, recipes, API. Run by mkdocs (gen-files).

Nothing is written to the repository. Sources: the cards at the top of the files, `recipes/`, docs/models.csv,
docs/formulas.toml, docs/images/<card>.png, docs/results/ablation/*/ablation.csv; the layout is in docs/templates.
The start page, docs/README.md, is taken over with links to these pages in place of links to the source.
"""

import ast
import csv
import html
import pathlib
import re
import sys
import tomllib

import jinja2
import mkdocs_gen_files
from latex2mathml.converter import convert

DOCS = pathlib.Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))  # mkdocs runs this file by itself

from keras_tricks.recipe import list_recipes, load_recipe  # noqa: E402
from keras_tricks.studies import ablation  # noqa: E402
from keras_tricks.utils import cards  # noqa: E402

FORMULAS = tomllib.loads((DOCS / "formulas.toml").read_text())
PICTURES = {"scaled_ws_conv2d": "signal_propagation", "image_ops": "rand_augment", "exponential": "cosine",
            "warmup_linear_scaling": "warmup", "linear_scaling": "warmup", "batch_size_scheduler": "batch_size_plan",
            "noise_scale": "batch_size_plan"}
HEADINGS = [heading for heading in cards.HEADINGS if heading not in ("Formula", "Recipe")]
FOLDERS = {"data": "Data and augmentation", "initializers": "Initialization", "layers": "Layers", "losses": "Losses",
           "optimizers": "Optimizers", "schedules": "Schedules", "callbacks": "Callbacks",
           "surgery": "Finished models"}  # of tricks
REFERENCE = {"data": "Data", "models": "Models", "layers": "Layers", "initializers": "Initializers",
             "ops": "Operations", "losses": "Losses", "optimizers": "Optimizers", "schedules": "Schedules",
             "callbacks": "Callbacks", "distribution": "Distribution", "export": "Export", "weights": "Weights",
             "surgery": "Surgery", "analysis": "Analysis"}
RECIPE_FOLDERS = {"": "First run", "bag_of_tricks": "Bag of Tricks", "dont_decay": "Growing batches",
                  "resnet_rs": "ResNet-RS", "efficientnet_rs": "EfficientNet-RS", "nfnet": "NFNets",
                  "cifar10": "CIFAR-10", "resnet_strikes_back": "ResNet strikes back", "torchvision": "torchvision",
                  "transfer": "Transfer"}
SITE_PAGES = {"../keras_tricks": "tricks/index.md", "../keras_tricks/models": "families/index.md",
              "../keras_tricks/training.py": "reference/recipe.md", "../recipes": "recipes.md"}  # of source files
ENTRY_POINTS = ("training.train", "training.Run", "evaluation.evaluate", "recipe.Recipe", "recipe.load_recipe",
                "recipe.list_recipes")


def cell(text):
    """A text of several lines in one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def arxiv(paper):
    return f"[{paper}](https://arxiv.org/abs/{paper.removeprefix('arXiv:')})" if paper.startswith("arXiv:") else paper


def results(text):
    """Links to the pages of docs/results that a recipe names."""
    return re.sub(r"docs/results/(\w+)", r"[our run](results/\1/README.md)", text)


def breakable(name):
    """A long name as code that may wrap after `/` and `_`."""
    return "<code>" + re.sub("([/_])", r"\1<wbr>", name) + "</code>"


templates = jinja2.Environment(loader=jinja2.FileSystemLoader(DOCS / "templates"), trim_blocks=True,
                               undefined=jinja2.StrictUndefined)
templates.filters |= {"cell": cell, "arxiv": arxiv, "results": results, "breakable": breakable}


def write(path, text):
    with mkdocs_gen_files.open(path, "w") as file:
        file.write(text)


def start_page():
    """docs/README.md with links to pages of the site in place of links to source files."""
    text = (DOCS / "README.md").read_text()
    folders = {f"../keras_tricks/{folder}": f"reference/{folder}.md" for folder in REFERENCE}
    for source, page in (folders | SITE_PAGES).items():
        text = text.replace(f"]({source})", f"]({page})")
    write("README.md", text.partition(" On GitHub those pages")[0] + "\n")


def formula(card):
    """The formula as MathML where docs/formulas.toml has it, else as the card writes it."""
    if card.name in FORMULAS:
        return f'<div class="formula">{convert(FORMULAS[card.name].strip(), display="block")}</div>'
    return f'<pre class="formula">{html.escape(card.fields["Formula"])}</pre>'


def picture(card):
    name = PICTURES.get(card.name, card.name)
    there = card.folder != "models" and (DOCS / "images" / f"{name}.png").is_file()
    return f"![{card.title}](../../images/{name}.png)" if there else ""


def measured(card):
    """(table, `Summary`) for every row of the ablations in which a trick of the card was added or left out."""
    for path in sorted((DOCS / "results" / "ablation").glob("*/ablation.csv")):
        for row in ablation.summaries(*ablation.read_csv(path)):
            if any(row.name in (f"+ {trick}", f"- {trick}") for trick in card.switches):
                yield path.parent.name, row


def public(path):
    """Names of the functions and classes of a file that its folder hands on, in the order of the file."""
    handed_on = {alias.name for node in ast.parse((path.parent / "__init__.py").read_text()).body
                 if isinstance(node, ast.ImportFrom) for alias in node.names}
    body = ast.parse(path.read_text()).body
    found = [node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    return [name for name in found if not name.startswith("_") and (name in handed_on or path.stem in handed_on)]


def module(path):
    return "keras_tricks." + path.relative_to(cards.PACKAGE).with_suffix("").as_posix().replace("/", ".")


def links(card, up):
    """Links to everything public in a card's file, in the API reference."""
    path = cards.PACKAGE / card.path
    found = [f"[`{name}`]({up}/reference/{card.folder}.md#{module(path)}.{name})" for name in public(path)]
    return ": ".join(filter(None, [f"`keras_tricks/{card.path}`", ", ".join(found)]))


def short_title(card):
    """The part of a card's title that names the trick, for the navigation."""
    title = re.split(r"[:;]|, (?:for|which|whose|as the|inside|batch|the)\b", card.title)[0]
    return title if len(title) <= 50 else re.split(r" (?:with|for|that|whose|on) ", title)[0]


def heading(card):
    """The class of a trick, as a reader writes it, or the short title."""
    first = next((name for name in public(cards.PACKAGE / card.path) if name[0].isupper()), None)
    return first or short_title(card)


def tricks():
    found = [card for card in cards.cards() if "Recipe" in card.fields]
    assert {card.folder for card in found} == set(FOLDERS), "a folder of tricks without a title in FOLDERS"
    index = ["# Tricks", "", "Each trick is one file of the package. Its page shows the card at the top of that file. "
             "`keras-tricks list tricks` lists the tricks, `keras-tricks ablate` measures them on your data."]
    summary = ["- [All tricks](index.md)"]
    for folder, title in FOLDERS.items():
        own = [card for card in found if card.folder == folder]
        index += ["", f"## {title}", "", "| trick | what it is |", "|---|---|",
                  *(f"| [{heading(c)}]({folder}/{c.name}.md) | {cell(c.title)} |" for c in own)]
        summary += [f"- {title}", *(f"    - [{short_title(c)}]({folder}/{c.name}.md)" for c in own)]
        for card in own:
            write(f"tricks/{folder}/{card.name}.md", templates.get_template("trick.md").render(
                card=card, heading=heading(card), formula=formula(card), picture=picture(card), headings=HEADINGS,
                rows=list(measured(card)), links=links(card, "../..")))
    write("tricks/index.md", "\n".join(index) + "\n")
    write("tricks/SUMMARY.md", "\n".join(summary) + "\n")


def families():
    with open(DOCS / "models.csv", newline="") as file:
        models = list(csv.DictReader(file))
    found = [card for card in cards.cards() if card.folder == "models"]
    for card in found:
        write(f"families/{card.name}.md", templates.get_template("family.md").render(
            card=card, formula=formula(card), picture="", headings=HEADINGS, links=links(card, ".."),
            models=[m for m in models if m["family"] == card.name]))
    index = ["# Model families", "", "`kt.models.create_model(name)` builds any of these; `keras-tricks list models` "
             "lists them.", "", "| family | models |", "|---|---|"]
    for card in found:
        names = ", ".join(f"`{m['name']}`" for m in models if m["family"] == card.name)
        index.append(f"| [{short_title(card)}]({card.name}.md) | {names} |")
    write("families/index.md", "\n".join(index) + "\n")
    write("families/SUMMARY.md", "\n".join(["- [All families](index.md)", *(f"- [{short_title(c)}]({c.name}.md)"
                                                                           for c in found)]) + "\n")


def recipes():
    found = {folder: [] for folder in RECIPE_FOLDERS}
    for name in list_recipes():
        text = ast.get_docstring(ast.parse((DOCS.parent / "recipes" / f"{name}.py").read_text())) or ""
        folder = name.rpartition("/")[0]
        found[folder].append({"name": name, "what": text.partition("\n")[0].rstrip("."),
                              "about": load_recipe(name).about})
    groups = [(RECIPE_FOLDERS[folder], of_folder) for folder, of_folder in found.items()]
    write("recipes.md", templates.get_template("recipes.md").render(groups=groups))


def reference():
    for folder, title in REFERENCE.items():
        head = ast.get_docstring(ast.parse((cards.PACKAGE / folder / "__init__.py").read_text()))
        paths = [path for path in sorted((cards.PACKAGE / folder).rglob("*.py")) if path.name != "__init__.py"]
        names = [f"::: {module(path)}.{name}\n" for path in paths for name in public(path)]
        write(f"reference/{folder}.md", "\n".join([f"# {title}: kt.{folder}\n\n{head}\n", *names]))
    write("reference/recipe.md", "\n".join(["# Recipe and training\n", *(f"::: keras_tricks.{name}\n"
                                                                          for name in ENTRY_POINTS)]))
    write("reference/SUMMARY.md", "\n".join(["- [Recipe and training](recipe.md)",
                                             *(f"- [{title}: kt.{folder}]({folder}.md)"
                                               for folder, title in REFERENCE.items())]) + "\n")


start_page()
tricks()
families()
recipes()
reference()
