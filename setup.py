"""Copies the top-level `recipes/` into the wheel as `keras_tricks/_recipes`; all else is in pyproject.toml."""

import pathlib
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRecipes(build_py):
    def run(self):
        super().run()
        target = pathlib.Path(self.build_lib) / "keras_tricks" / "_recipes"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree("recipes", target, ignore=shutil.ignore_patterns("__pycache__"))


setup(cmdclass={"build_py": BuildWithRecipes})
