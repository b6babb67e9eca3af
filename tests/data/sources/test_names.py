"""Names and paths that are made when they are asked for."""

import os

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from keras_tricks.data.sources.names import Names, Paths, broken_in_graph

PATHS = ["/data/ant/1.jpg", "/data/ant/2.jpg", "/data/bee/1.jpg", "flat.png", "a//b/c.jpg", "/data/ant/ü.jpg",
         "/data/ant/\udcff.jpg", "", "/"]


def test_paths_are_what_was_given():
    paths = Paths(PATHS)
    assert list(paths) == PATHS and paths == tuple(PATHS) and len(paths) == len(PATHS)
    assert paths[-1] == "/" and paths[1:3] == tuple(PATHS[1:3]) and paths.index("flat.png") == 3
    assert "/data/bee/1.jpg" in paths and "/data/bee/2.jpg" not in paths and paths != PATHS[:-1]
    with pytest.raises(IndexError):
        paths[len(PATHS)]


def test_paths_in_the_graph():
    path_of = tf.function(Paths(PATHS).in_graph())
    assert [path_of(tf.constant(i, tf.int64)).numpy() for i in range(len(PATHS))] == list(map(os.fsencode, PATHS))


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_any_paths(texts):
    assert list(Paths(texts)) == texts


def test_names_are_made_one_at_a_time():
    made = []
    names = Names(10**9, lambda i: made.append(i) or f"example {i}")
    assert len(names) == 10**9 and names[7] == "example 7" and names[-1] == "example 999999999" and len(made) == 2
    assert tuple(names.pick(np.array([3, 1]))) == ("example 3", "example 1")


def test_a_folder_is_kept_once():
    paths = Paths([f"/a/long/folder/name/{i % 4}/{i:06d}.jpg" for i in range(1000)])
    assert len(paths.folders) == 4
    assert len(paths.text) + paths.folder_of.nbytes + paths.ends.nbytes < 24 * 1000


def test_broken_names_in_the_graph():
    names = Names(5, str)
    assert [i for i in range(5) if broken_in_graph(names, {"1": "x", "4": "y"})(i)] == [1, 4]
    assert not broken_in_graph(names, ())(tf.constant(1))
