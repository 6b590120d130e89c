"""The rooms of the library: which one may use which, and what a change in one re-runs."""

import ast
import graphlib

import pytest

from darkroom.core.code_digest import StageCode
from tests.harness import REPOSITORY

# From below: a room uses those of earlier lines alone.
FLOORS = [
    {"core"},
    {"images", "workers", "labels"},
    {"filters", "augmentation", "checks", "embedding", "sources"},
    {"dedupe", "models"},
    {"evaluation"},
    {"comparison", "report", "review", "export", "purge"},
    {"commands"},
]
STAGES = ["download", "clean", "embed", "dedupe", "split", "augment", "train", "evaluate", "report"]


def imports_of(path):
    """Yield the names of the modules and what is taken from them, in functions as well."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_arrow_between_rooms_points_up_or_round():
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    library = REPOSITORY / "darkroom"
    assert set(floor) == {
        path.name for path in library.iterdir() if (path / "__init__.py").exists()
    }
    arrows = {
        (path.relative_to(library).parts[0], name.split(".")[1])
        for room in floor
        for path in (library / room).rglob("*.py")
        for name in imports_of(path)
        if name.startswith("darkroom.")
    }
    between = {(user, used) for user, used in arrows if user != used}
    assert {(user, used) for user, used in between if floor[user] < floor[used]} == set()
    below = {room: {used for user, used in between if user == room} for room in floor}
    graphlib.TopologicalSorter(below).prepare()  # raises CycleError


def test_the_library_knows_no_stage():
    for path in (REPOSITORY / "darkroom").rglob("*.py"):
        assert not [name for name in imports_of(path) if name.split(".")[0] == "stages"], path


@pytest.fixture(scope="module")
def modules():
    code = StageCode(REPOSITORY)
    return {stage: set(code.describe(f"stages.{stage}")["modules"]) for stage in STAGES}


@pytest.mark.parametrize(
    ("room", "stages"),
    [
        ("sources", "download"),
        ("checks", "clean"),
        ("dedupe", "dedupe"),
        ("evaluation", "evaluate"),
        ("report", "report"),
        ("core.validation_errors", ""),
        ("core.params.train", "split augment train report"),
    ],
)
def test_a_change_in_a_room_reruns_its_own_stage(modules, room, stages):
    users = {
        stage
        for stage, names in modules.items()
        if any(f"{name}.".startswith(f"darkroom.{room}.") for name in names)
    }
    assert users == set(stages.split())
