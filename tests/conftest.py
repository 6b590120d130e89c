"""Fixtures that several test files share. Images are made or cut here; none is downloaded."""

import shutil
from concurrent.futures import Executor, Future
from contextlib import nullcontext

import hypothesis
import pytest

from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.sources.sample.photographs import PHOTOGRAPHS, read
from darkroom.workers import mapper
from tests.harness import REPOSITORY, read_values
from tests.review.stores import develop, records_of, write_store

SIDE_PX = 96
# What takes longest comes first, so that no worker is left with it when the others are done.
SLOW = ("test_repro.py", "test_pipeline.py", "purge", "stages/test_train.py", "models", "report")

# A change must pass or fail by what it changes, not by what is drawn: the same examples each time.
# New ones are looked for with `python -m pytest --hypothesis-profile=explore`.
# How long that takes is the machine's affair.
ANY_TIME = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("same", derandomize=True, **ANY_TIME)
hypothesis.settings.register_profile("explore", max_examples=2000, **ANY_TIME)
hypothesis.settings.load_profile("same")


def pytest_collection_modifyitems(items):
    """Sort the slow files to the front; files stay together, since they share what they build."""
    items.sort(key=lambda item: not item.nodeid.startswith(tuple(f"tests/{name}" for name in SLOW)))


@pytest.fixture
def repository():
    """Return the folder that this checkout lies in."""
    return REPOSITORY


@pytest.fixture
def values():
    """Return tests/params.yaml as plain values, to be changed and given to `check_params`."""
    return read_values()


@pytest.fixture
def params(values):
    """Return tests/params.yaml, checked."""
    return check_params(values, Params)


@pytest.fixture(scope="session")
def patches():
    """Return 100 real patches, (96, 96, 3) uint8, no two of which overlap."""
    found = []
    for photograph in PHOTOGRAPHS:
        if photograph.name in {"astronaut", "chelsea", "coffee", "rocket", "china", "flower"}:
            pixels = read(photograph)
            found += [
                pixels[top : top + SIDE_PX, left : left + SIDE_PX]
                for top in range(0, pixels.shape[0] - SIDE_PX + 1, SIDE_PX)
                for left in range(0, pixels.shape[1] - SIDE_PX + 1, SIDE_PX)
            ]
    return sorted(found, key=lambda patch: -float(patch.std()))[:100]


class InProcess(Executor):
    """An executor that works at once, in this process."""

    def submit(self, function, /, *args, **kwargs):
        done = Future()
        try:
            done.set_result(function(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


@pytest.fixture
def in_process(monkeypatch):
    """Map shards without worker processes, for tests of what comes out: starting one takes 2 s."""
    monkeypatch.setattr(mapper, "new_pool", lambda workers: InProcess())
    monkeypatch.setattr(mapper, "guarded", lambda *limits: nullcontext())


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
