"""Packages of the wheel. pyproject.toml holds the rest: it has no way to say that a folder is installed under another name."""

from setuptools import find_packages, setup

DATA = {"star.seeds": "seeds", "analysis.settings": ".streamlit"}
"""Package of the wheel -> folder of the repository; data alone, no modules."""

setup(
    packages=[*find_packages(include=["star*", "analysis*"]), *DATA],
    package_dir=DATA,
    options={"editable_wheel": {"mode": "compat"}},  # the whole checkout on the path: scripts of benchmarks/ import each other
)
