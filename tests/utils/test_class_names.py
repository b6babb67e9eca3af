"""Class names: where they are kept, and how two lists correspond."""

import json

import pytest

from keras_tricks.data.sources.source import match_classes
from keras_tricks.utils import class_names
from keras_tricks.utils.errors import UserError


def test_what_is_written_is_read(tmp_path):
    class_names.write_class_names(tmp_path, ("n01", "größe", "a, b"))
    assert class_names.read_class_names(tmp_path / "classes.json") == ("n01", "größe", "a, b")
    assert class_names.of_run(tmp_path) == ("n01", "größe", "a, b")


def test_a_run_of_before_has_them_in_its_export(tmp_path):
    assert class_names.of_run(tmp_path) is None
    (tmp_path / "export").mkdir()
    class_names.write_class_names(tmp_path / "export", ("old",))
    assert class_names.of_run(tmp_path) == ("old",)
    class_names.write_class_names(tmp_path, ("new",))
    assert class_names.of_run(tmp_path) == ("new",)


def test_names_of_weights_are_those_of_their_run_or_export(tmp_path):
    class_names.write_class_names(tmp_path, ("a", "b"))
    (tmp_path / "export").mkdir()
    class_names.write_class_names(tmp_path / "export", ("a", "b"))
    assert class_names.of_weights(tmp_path / "checkpoints" / "best.safetensors") == ("a", "b")
    assert class_names.of_weights(tmp_path / "export" / "model.keras") == ("a", "b")
    assert class_names.of_weights(tmp_path / "elsewhere" / "model.safetensors") == ()


@pytest.mark.parametrize("content", ["", "[", "{}", "[]", '["a", 1]', '["a", "a"]', '"a"', "[" * 100_000])
def test_damaged_files(tmp_path, content):
    (tmp_path / "classes.json").write_text(content)
    with pytest.raises(UserError, match="classes.json is not a JSON list of class names: restore the file, or remove"):
        class_names.of_run(tmp_path)


def test_a_folder_in_its_place(tmp_path):
    (tmp_path / "classes.json").mkdir()
    with pytest.raises(UserError, match="classes.json cannot be read"):
        class_names.of_run(tmp_path)


def test_differences():
    assert class_names.difference(("a", "b"), ("b", "c")) == "only in the data: a; only in the weights: c"
    assert class_names.difference(("a", "b"), ("b", "a")) == ""
    many = tuple(map(str, range(8)))
    assert class_names.difference(many, ()) == "only in the data: 0, 1, 2, 3, 4 and 3 more"


def test_places_are_by_name():
    assert class_names.places(("b", "a"), ("a", "b", "c")) == (1, 0)
    assert class_names.places(("x", "y"), ("a", "b"), {"x": "b", "y": "b"}) == (1, 1)
    with pytest.raises(UserError, match="The data have other classes than the weights .only in the data: z; only in"):
        class_names.places(("a", "z"), ("a", "b"))
    with pytest.raises(UserError, match="the weights have no class 'aa'. Did you mean \"a\"?"):
        class_names.places(("x",), ("a", "b"), {"x": "aa"})


def test_a_map(tmp_path):
    (tmp_path / "map.json").write_text(json.dumps({"x": "b"}))
    assert class_names.read_mapping(tmp_path / "map.json") == {"x": "b"}
    with pytest.raises(UserError, match="--class-map .*none.json cannot be read: No such file"):
        class_names.read_mapping(tmp_path / "none.json")


def test_names_that_look_the_same_are_shown_with_their_characters():
    """As after a copy between macOS and Linux: `é` as one character or two."""
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    for check in (lambda: class_names.places((decomposed,), (composed, "dog")),
                  lambda: match_classes([decomposed], [composed, "dog"], "val", "train")):
        with pytest.raises(UserError, match="looks the same in other Unicode characters") as error:
            check()
        assert "caf\\xe9" in str(error.value) and "cafe\\u0301" in str(error.value)


def test_a_mapping_with_a_name_twice_is_refused(tmp_path):
    """JSON readers take the last value in silence."""
    (tmp_path / "map.json").write_text('{"a": "cat", "a": "dog"}')
    with pytest.raises(UserError, match="each key once"):
        class_names.read_mapping(tmp_path / "map.json")


def test_classes_that_differ_in_case_only_are_named():
    assert class_names.look_alikes(("Cat", "dog", "cat", "sea lion", "Sealion")) == [
        "'Cat' and 'cat'", "'sea lion' and 'Sealion'"]
    assert class_names.look_alikes(("n01440764", "1", "10")) == []
