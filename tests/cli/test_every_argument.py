"""Every argument of every command, absent, doubled, of the wrong kind, at its limits: one line and exit code 2."""

import argparse
import contextlib
import io
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_tricks import cli, evaluation, training
from keras_tricks.cli import parser as parsing
from keras_tricks.utils.errors import UserError

MINIMAL = {  # words without which a command cannot be parsed; of commands not listed, see `required`
    "train": ["quickstart"], "launch": ["-n", "2", "--", "doctor"], "plan": ["quickstart"], "compare": ["a", "b"],
    "evaluate": ["run"], "report": ["run"], "reproduce": ["x"], "predict": ["run", "x.png"], "export": ["run"],
    "benchmark": ["quickstart", "--data"], "inspect": ["resnet20"], "scale": [],
    "ablate": ["quickstart", "--add", "warmup"], "list": [],
    "data check": ["digits"], "data pack": ["digits", "--output", "o"], "data serve": [], "doctor": [],
    "port": ["args.yaml"],
}
LIMITS = {  # option: (smallest value, largest value or None); a float where fractions are allowed
    "--minival": (0.0, 0.999), "--logical-devices": (2, 64), "--seed": (0, 2**32 - 1), "--top": (1, None),
    "--batches": (1, None), "--image-size": (1, None), "--batch-size": (1, None), "--widths": (0.01, None),
    "--depths": (1, None), "--resolutions": (1, None), "--measure": (0, None), "--deepest": (1, None),
    "--steps": (1, None), "--seeds": (1, None), "--shard-mib": (1, None), "--max-side": (1, None),
    "--quality": (1, 100), "--uncompressed": (0.0, 1.0), "--port": (0, 65535), "--workers": (1, None),
    "--processes": (1, None),
}
NOT_A_NUMBER = ["x", "nan", "-", "1,5", "0x10", "é", "9" * 5000 + "x", "--"]


def outcome(*words):
    """(namespace or `None`, exit code, lines on stderr) of parsing a command line."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            return cli.parse(["keras-tricks", *map(str, words)]), 0, []
        except SystemExit as stop:
            return None, stop.code, errors.getvalue().splitlines()


def refused(*words):
    """The line with which a command line is refused."""
    parsed, code, lines = outcome(*words)
    assert parsed is None and code == 2 and len(lines) == 1, (words, code, lines)
    assert re.match(r"keras-tricks( \w+)*: \S", lines[0]) and len(lines[0]) < 600
    return lines[0]


def parsers():
    """{words of a command: its parser}."""
    _, commands = cli.build_parser()
    found = {}
    for name, parser in commands.items():
        nested = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        found |= {f"{name} {inner}": p for a in nested for inner, p in a.choices.items()} or {name: parser}
    return found


def required(parser):
    """Words for the required arguments of a command that `MINIMAL` does not list."""
    return [list(action.choices)[0] if action.choices else "x" for action in parser._actions
            if not action.option_strings and action.nargs not in ("?", "*")]


PARSERS = parsers()
MINIMAL |= {name: required(parser) for name, parser in PARSERS.items() if name not in MINIMAL}
OPTIONS = [(command, action) for command, parser in PARSERS.items() for action in parser._actions
           if action.option_strings and "_" not in action.option_strings[0] and action.help != argparse.SUPPRESS]
TYPED = [(command, action) for command, action in OPTIONS if action.type is not None]
OURS = [(command, action) for command, action in OPTIONS if not {"--help", "--helpfull"} & set(action.option_strings)]


def identify(value):
    return value if isinstance(value, str) else value.option_strings[-1]


def words_of(command):
    return [*command.split(), *MINIMAL[command]]


def with_option(command, *words):
    """A command line with an option right after the command, so that `launch ... --` does not take it."""
    before = MINIMAL[command][:2] if command == "launch" else []
    return [*command.split(), *before, *words, *MINIMAL[command][len(before):]]


def test_every_command_is_here():
    assert set(PARSERS) == set(MINIMAL)
    for command in MINIMAL:
        assert outcome(*words_of(command))[1] == 0


def test_every_typed_option_has_its_limits_here():
    assert {action.option_strings[-1] for _, action in TYPED} <= set(LIMITS)


@pytest.mark.parametrize("command", [c for c, words in MINIMAL.items() if words and c != "launch"])
def test_what_is_absent_is_named(command):
    if all(a.nargs in ("?", "*") for a in PARSERS[command]._actions if not a.option_strings and a.required):
        return  # the recipe of `train` and `ablate`: see tests/cli/test_cli.py
    line = refused(*command.split())
    assert "are required" in line and "--help` shows all" in line


@pytest.mark.parametrize("command, action", OURS, ids=identify)
def test_an_option_without_its_value(command, action):
    if action.nargs in (0, "?"):
        return
    words = [w for w in words_of(command) if w not in action.option_strings]
    refused(*(words[:2] if command == "launch" else words), action.option_strings[-1])


@pytest.mark.parametrize("command, action", OURS, ids=identify)
def test_an_option_given_twice_has_its_last_value(command, action):
    """As in every program of this kind; options that collect values keep both."""
    option = action.option_strings[-1]
    if action.nargs == 0:
        words = [option, option]
    elif action.choices:
        words = [option, list(action.choices)[0], option, list(action.choices)[-1]]
    else:
        smallest = str(LIMITS[option][0]) if action.type else "a"
        words = [option, smallest, option, smallest]
    parsed, code, lines = outcome(*with_option(command, *words))
    assert code == 0, lines
    if action.choices:
        assert getattr(parsed, action.dest) == list(action.choices)[-1]


@pytest.mark.parametrize("command, action", TYPED, ids=identify)
def test_a_number_of_the_wrong_kind(command, action):
    option = action.option_strings[-1]
    low, high = LIMITS[option]
    wrong = [*NOT_A_NUMBER, "inf", "-1"] + (["1.5"] if isinstance(low, int) else []) + (["0"] if low > 0 else [])
    wrong += [str(high + 1)] if high is not None else []
    for value in wrong:
        if value.startswith("-") and value != "-1":
            continue  # a word of its own, see `test_an_option_without_its_value`
        line = refused(*with_option(command, f"{option}={value}"))
        assert f"argument {'/'.join(action.option_strings)}: expected a" in line and "Received: " in line


@pytest.mark.parametrize("command, action", TYPED, ids=identify)
def test_a_number_at_its_limits(command, action):
    option = action.option_strings[-1]
    for value in (limit for limit in LIMITS[option] if limit is not None):
        parsed, code, lines = outcome(*with_option(command, f"{option}={value}"))
        assert code == 0, lines
        found = getattr(parsed, action.dest)
        assert value == (found[0] if isinstance(found, list) else found)


@pytest.mark.parametrize("command, action", [pair for pair in OURS if pair[1].choices], ids=identify)
def test_a_choice_that_is_none(command, action):
    option, first = action.option_strings[-1], list(action.choices)[0]
    assert f'Did you mean "{first}"?' in refused(*with_option(command, f"{option}={first}x"))


@pytest.mark.parametrize("command, action", [pair for pair in OURS if pair[1].nargs != 0], ids=identify)
def test_an_empty_value_is_refused(command, action):
    """As from `--resume "$RUN"` with a variable that is not set, which started a new run."""
    option = action.option_strings[-1]
    assert "is empty" in refused(*with_option(command, f"{option}="))
    assert "is empty" in refused(*with_option(command, option, ""))


@pytest.mark.parametrize("command, action", [pair for pair in OURS if pair[1].nargs == 0], ids=identify)
def test_a_switch_takes_no_value(command, action):
    refused(*with_option(command, f"{action.option_strings[-1]}=yes"))


@pytest.mark.parametrize("command", [c for c in MINIMAL if c != "launch"])
def test_an_unknown_option_is_named_with_the_nearest(command):
    line = refused(*words_of(command), "--sets=x")
    assert line.startswith(f"keras-tricks {command.split()[0]}") and "--sets=x" in line


@pytest.mark.parametrize("words, hint", [
    (["trian"], "train"), (["data", "chek"], "check"), (["list", "modles"], "models"),
    (["train", "quickstart", "--outptu", "x"], "--output"), (["scale", "--width", "0"], "above 0")])
def test_the_nearest_word_is_suggested(words, hint):
    assert hint in refused(*words)


@pytest.mark.parametrize("words, hint", [
    ("train quickstart --epochs 3", "--set schedule.epochs=3"), ("train quickstart --epochs=3", "schedule.epochs=3"),
    ("train quickstart --epochs", "schedule.epochs=VALUE"), ("plan quickstart --lr 0.1", "base_learning_rate=0.1"),
    ("train quickstart --batch-size 64", "schedule.batch_size=64"), ("train x --learning-rate=1", "learning_rate=1"),
    ("ablate quickstart --model resnet50d", "model.name=resnet50d"), ("train quickstart --wd 0", "weight_decay=0"),
    ("train quickstart schedule.epochs=3", "--set schedule.epochs=3"),
    ("train quickstart --set schedule.epochs 3", "--set schedule.epochs=3"),
    ("predict run x.png --image_size=8", "--set data.image_size=8"), ("train quickstart --output-dir x", "--output")])
def test_a_setting_given_as_an_option_is_named(words, hint):
    assert re.search(f'Did you mean ".*{re.escape(hint)}', refused(*words.split()))


def test_an_option_of_other_programs_has_no_misleading_hint():
    for words in (["--gpus", "2"], ["--device", "cuda"], ["--epochs-of-warmup", "2"]):
        assert "Did you mean" not in refused("report", "run", *words)


def test_a_trick_that_is_taken_away_needs_no_equals_sign():
    for words in (["--add", "-mixup"], ["--add=-mixup"], ["--add", "mixup -distillation"], ["--add", "-a -b"]):
        parsed, code, lines = outcome("ablate", "quickstart", *words)
        assert code == 0 and len(parsed.add) == 1 and parsed.add[0] == words[-1].removeprefix("--add="), lines
    assert parsing.attach_values(["--add", "--seeds", "3"]) == ["--add", "--seeds", "3"]


VOCABULARY = sorted({option for _, action in OPTIONS for option in action.option_strings} | {
    "quickstart", "resnet20", "run", "-1", "0", "1e400", "nan", "--", "-", "=", "--set", "a.b=c", "[", "é", "\udcff",
    "\0", "9" * 5000, "--help", "check", "pack", "serve", "float32", "--seed=", "@file", "%s", "--no", "-x"})


@settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from([*cli.COMMANDS, *VOCABULARY]) | st.text(max_size=6), max_size=6))
def test_any_words(words):
    parsed, code, lines = outcome(*words)
    assert code in (0, 2) and len(lines) <= 1, (words, code, lines)
    assert parsed is not None or code == 0 or lines[0].startswith("keras-tricks")


VALUES = ["", "0", "1", "-1", "2.5", "1e400", "nan", "x", "a=b", "schedule.epochs=1", "é", "-", "--", "9" * 5000, "\0"]


@st.composite
def command_lines(draw, command):
    """(words, whether they are right) of a command: its options absent, once or twice, with right or other values."""
    own = [action for name, action in OURS if name == command]
    options = draw(st.lists(st.sampled_from(own), max_size=4)) if own else []
    words, right = [], True
    for action in options:
        option = draw(st.sampled_from(action.option_strings))
        if action.nargs == 0:
            words.append(option)
            continue
        limits = LIMITS.get(action.option_strings[-1], ()) if action.type else ["a"]
        values = list(action.choices or [limit for limit in limits if limit is not None])
        if draw(st.booleans()):
            value = draw(st.sampled_from([*VALUES, *OTHER_OPTIONS]))
            right = False
        else:
            value = draw(st.sampled_from(values))
        words += [f"{option}={value}"] if draw(st.booleans()) and option.startswith("--") else [option, str(value)]
    minimal = MINIMAL[command]
    if minimal and draw(st.integers(0, 5)) == 0:  # without one of the required words
        place = draw(st.integers(0, len(minimal) - 1))
        minimal, right = minimal[:place] + minimal[place + 1:], False
    return [*command.split(), *(w for w in ([] if command == "launch" else minimal)), *words,
            *(minimal if command == "launch" else [])], right


OTHER_OPTIONS = sorted({option for _, action in OPTIONS for option in action.option_strings})[::5]


@pytest.mark.parametrize("cases", [4, pytest.param(400, marks=pytest.mark.slow)])
@pytest.mark.parametrize("command", MINIMAL)
def test_options_of_a_command(command, cases):
    """Any of its options, absent, once or twice, with values of the right kind, at their limits and of other kinds."""

    @settings(max_examples=cases, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))
    @given(command_lines(command))
    def check(line):
        words, right = line
        parsed, code, lines = outcome(*words)
        assert code in (0, 2) and len(lines) == (code == 2), (words, code, lines)
        assert not lines or lines[0].startswith("keras-tricks"), (words, lines)
        assert parsed is not None or not right, (words, lines)
        if parsed is not None:
            for action in (a for c, a in OURS if c == command and a.type):
                values = getattr(parsed, action.dest)
                low, high = LIMITS[action.option_strings[-1]]
                for value in values if isinstance(values, list) else [values]:
                    in_range = value is None or (low <= value and (high is None or value <= high))
                    assert in_range or value == action.default, (words, action.dest, value)

    check()


# ---- words that only the command itself can judge


@pytest.fixture
def stubs(monkeypatch):
    """Commands end where they would begin to work."""
    def ends(*_, **__):
        raise UserError("the command would work")

    for module, names in ((training, ("train", "prepare", "open_data")), (evaluation, ("measure",))):
        for name in names:
            monkeypatch.setattr(module, name, ends)


def run(*words):
    """The line with which a whole command ends."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        with pytest.raises(SystemExit) as stop:
            cli.run(cli.parse(["keras-tricks", *map(str, words)]))
    lines = [line for line in errors.getvalue().splitlines() if line.startswith("keras-tricks")]
    assert stop.value.code == 2 and len(lines) == 1 and "Traceback" not in errors.getvalue(), errors.getvalue()
    return lines[0]


JUNK = ["no such thing", "/", ".", "..", "-", "[", "*", "é", "x" * 5000, "/dev/null", "/proc/self/mem"]


@pytest.mark.parametrize("junk", JUNK, ids=lambda text: ascii(text[:12]))
@pytest.mark.parametrize("command", ["train", "plan", "evaluate", "report", "reproduce", "benchmark", "export",
                                     "compare", "predict", "inspect", "ablate", "port", "data check"])
def test_a_place_that_is_none(command, junk, stubs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = {"predict": [junk, "x.png"], "compare": [junk, junk], "benchmark": [junk, "--data"],
             "ablate": [junk, "--add", "warmup", "--dry-run"]}.get(command, [junk])
    if junk == "-" and command == "data check":
        return
    run(*command.split(), *words)
    assert list(tmp_path.iterdir()) == []


SETTINGS = ["=", "a", "a=", "=a", "schedule", "schedule=", "schedule.epochs", "schedule.epochs=", "schedule.epochs=0",
            "schedule.epochs=1e11", "schedule.epochs=" + "9" * 5000, "seed=-1", "seed=4294967296", "data.std=[0,0,0]",
            "schedule.base_learning_rate=NaN", "model.options=[", "model.options=" + "[" * 5000, "self.x=1",
            "model.options.a.b.c.d=1", "export.formats=[\"onxx\"]", "augment.mixup=0.2", "epochs=3"]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda text: ascii(text[:24]))
@pytest.mark.parametrize("command", ["train", "plan", "benchmark", "ablate"])
def test_a_setting_that_is_none(command, setting, stubs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = {"benchmark": ["--data"], "ablate": ["--add", "label_smoothing"]}.get(command, [])
    line = run(command, "quickstart", *words, "--set", setting)
    if "options.a" not in setting:
        assert "would work" not in line
    assert list(tmp_path.iterdir()) == []


def test_the_nearest_key_of_a_recipe_is_its_whole_path(stubs):
    for setting, hint in (("epochs=3", "schedule.epochs"), ("augment.mixup=0.2", "augment.mixup_alpha"),
                          ("schedule.epoch=3", "schedule.epochs"), ("shedule.epochs=3", "schedule.epochs"),
                          ("lr=0.1", "schedule.base_learning_rate"), ("momentum=0.5", "optimizer.momentum"),
                          ("train.eval_every=2", "train.evaluate_every"), ("seeds=1", "seed")):
        assert f'Did you mean "{hint}"?' in run("train", "quickstart", "--set", setting)


FREE_TEXT = {"scale": ["--family", "--budget", "--up-to", "--train", "--recipe"], "export": ["--format"],
             "ablate": ["--add", "--remove", "--chain", "--define"], "train": ["--data-service", "--weights"]}


@pytest.mark.parametrize("command, option", [(c, o) for c, options in FREE_TEXT.items() for o in options])
def test_text_of_the_wrong_kind(command, option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = []
    monkeypatch.setattr(training, "train", lambda recipe, *_, **__: given.append(recipe))
    words = {"scale": ["--train", "epochs=1", "--output", "no/"], "export": ["no"],
             "ablate": ["quickstart", "--dry-run"], "train": ["quickstart"]}[command]
    for text in ("no such thing", "[", "é=", "x" * 5000, ": ", "macs=", "macs=nan", "epochs=0", "a=b", "grpc://:0"):
        if (command, option) == ("train", "--weights"):
            continue  # any name is a file that may be there when the training starts
        run(command, *words, f"{option}={text}")
    assert given == [] and list(tmp_path.iterdir()) == []
