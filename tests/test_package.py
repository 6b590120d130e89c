"""The library as a distribution."""

import tomllib

from tests.harness import REPOSITORY


def test_every_data_file_of_the_library_is_in_the_distribution():
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
    packaged = {
        path
        for package, patterns in settings["package-data"].items()
        for pattern in patterns
        for path in (REPOSITORY / package.replace(".", "/")).glob(pattern)
    }
    files = {path for path in (REPOSITORY / "darkroom").rglob("*") if path.is_file()}
    assert packaged == {path for path in files if path.suffix not in {".py", ".pyc"}}


def test_every_folder_of_the_library_is_a_package():
    """A folder without `__init__.py` would be left out."""
    folders = {path.parent for path in (REPOSITORY / "darkroom").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []
