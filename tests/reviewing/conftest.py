import shutil

import pytest

from tests.reviewing.stores import develop, records_of, write_store


@pytest.fixture(scope="session")
def developed(tmp_path_factory, patches):
    """Return a folder in which clean, embed and dedupe have run, and the key of each name."""
    root = tmp_path_factory.mktemp("developed")
    keys = write_store(root, records_of(patches))
    develop(root)
    return root, keys


@pytest.fixture
def store(developed, tmp_path):
    """Return a copy of it to change, and the keys."""
    shutil.copytree(developed[0], tmp_path / "store")
    return tmp_path / "store", developed[1]
