"""The cards: parsing the top of a file, and the list of tricks that all cards form."""

from keras_tricks import cli
from keras_tricks.utils import cards

TEXT = """Two tricks in one file: they share a formula. It ends here.

Formula    y = x * 2
           z = y + 1;  x real
Paper      Somebody et al. 2020, arXiv:2001.00001, section 3
Recipe     double: model.options.double=true; both: augment.mixup_alpha=0.2
           augment.cutmix_alpha=1.0; and prose that says: nothing
Use when   always
Do not     never
Cost       none
Differs    nothing
Status     made up

| a table | below |
|---------|-------|

Formula    of the text below the card, which is no field
"""


def test_a_card_is_read_field_by_field():
    card = cards.parse(TEXT, "layers/double.py")
    assert (card.name, card.path, card.folder) == ("double", "layers/double.py", "layers")
    assert card.title == "Two tricks in one file: they share a formula. It ends here"
    assert tuple(card.fields) == cards.HEADINGS
    assert card.fields["Formula"] == "y = x * 2\nz = y + 1;  x real"
    assert card.fields["Paper"] == "Somebody et al. 2020, arXiv:2001.00001, section 3"
    assert card.fields["Do not"] == "never"


def test_text_below_a_card_is_kept_unchanged():
    rest = cards.parse(TEXT, "layers/double.py").rest
    assert rest.startswith("| a table | below |\n|---------|") and rest.endswith("which is no field")


def test_switches_have_names_and_one_or_several_assignments():
    assert cards.parse(TEXT, "layers/double.py").switches == {
        "double": ("model.options.double=true",),
        "both": ("augment.mixup_alpha=0.2", "augment.cutmix_alpha=1.0"),
    }


def test_prose_in_recipe_is_not_a_switch():
    for prose in ("none: for networks of your own", "always on: it sets the rate", "always on in nf_resnet*",
                  "always on: the optimizer, unless optimizer.name=adam says so"):
        card = cards.parse(f"Title.\n\nFormula    x\nRecipe     {prose}\nStatus     y\n", "layers/x.py")
        assert card.switches == {} and card.fields["Recipe"] == prose


def test_a_text_without_fields_is_only_a_title():
    card = cards.parse("What the file does.\n\nAnd how it does so.\n", "errors.py")
    assert (card.title, card.fields, card.switches) == ("What the file does", {}, {})
    assert cards.parse("", "empty.py").title == ""


def test_a_file_without_formula_has_no_card(tmp_path, monkeypatch):
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers" / "double.py").write_text(f'"""{TEXT}"""\n')
    (tmp_path / "layers" / "helper.py").write_text('"""Helps.\n\nPaper      none\nRecipe     help: a.b=1\n"""\n')
    (tmp_path / "silent.py").write_text("x = 1\n")
    monkeypatch.setattr(cards, "PACKAGE", tmp_path)
    assert [card.path for card in cards.cards.__wrapped__()] == ["layers/double.py"]


def test_no_two_tricks_have_one_name():
    names = [name for card in cards.cards() for name in card.switches]
    assert len(names) == len(set(names)) and list(cards.tricks()) == names
    paths = [card.path for card in cards.cards()]
    assert paths == sorted(set(paths))


def test_tricks_are_what_the_papers_set():
    tricks = cards.tricks()
    assert tricks["warmup"] == ("schedule.warmup_epochs=5",)
    assert tricks["mixup"] == ("augment.mixup_alpha=0.2",)
    assert tricks["label_smoothing"] == ("loss.label_smoothing=0.1",)
    assert tricks["drop_path"] == ("model.options.drop_path_rate=0.1",)


def test_list_tricks_shows_each_with_its_file_and_its_switch(capsys):
    args = cli.parse(["keras-tricks", "list", "tricks"])
    args.run(args)
    head, *lines = capsys.readouterr().out.splitlines()
    shown = [(name, path, tuple(changes)) for name, path, *changes in map(str.split, lines)]
    assert head.split()[:2] == ["trick", "file"] and len(set(shown)) == len(shown)
    assert {name: changes for name, _, changes in shown if changes} == cards.tricks()
    assert ("mixup", "data/augment/mixing.py", ("augment.mixup_alpha=0.2",)) in shown
    assert ("ws_conv2d", "layers/ws_conv2d.py", ()) in shown
    assert {path for _, path, _ in shown} == {card.path for card in cards.cards() if "Recipe" in card.fields}


def test_list_tricks_takes_a_pattern(capsys):
    args = cli.parse(["keras-tricks", "list", "tricks", "mix*"])
    args.run(args)
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert names == ["mixup", "mixed_float16", "mixed_bfloat16"]
