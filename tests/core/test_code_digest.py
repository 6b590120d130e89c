import json
import shutil
import subprocess
import sys

import pytest

from darkroom.core import code_digest
from darkroom.core.code_digest import StageCode, write_stage_code
from darkroom.core.errors import UserError
from tests.harness import REPOSITORY

SCRIPT = """
from stages.helper import double

def run():
    import lazy.inside
    return double(1)
"""


@pytest.fixture
def project(tmp_path):
    """Return a project with a stage, a module that it imports, and one that it does not."""
    files = {
        "stages/clean.py": SCRIPT,
        "stages/scan.py": "",
        "stages/helper.py": "import numpy as np\n\ndef double(x):\n    return 2 * x\n",
        "stages/other.py": "import pandas\n",
        "lazy/inside.py": "NETWORK = 'weights.bin'\nTEMPLATES = 'templates'\n",
        "lazy/weights.bin": "1",
        "lazy/templates/page.html": "<p>",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def describe(project):
    return StageCode(project).describe("stages.clean")


def test_a_stage_is_what_it_imports_at_any_depth_and_the_libraries(project):
    code = describe(project)
    assert list(code["modules"]) == ["lazy.inside", "stages.clean", "stages.helper"]
    assert list(code["libraries"]) == ["numpy"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("stages/clean.py", SCRIPT + "\nLIMIT = 3\n"),
        ("stages/helper.py", "def double(x):\n    return x + x\n"),
        ("lazy/weights.bin", "2"),
        ("lazy/templates/page.html", "<div>"),
    ],
)
def test_what_a_stage_runs_or_reads_changes_its_digest(project, name, text):
    before = describe(project)
    (project / name).write_text(text)
    after = describe(project)
    assert after["digest"] != before["digest"]
    assert after["modules"] != before["modules"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("stages/clean.py", '"""What it does."""\n# why\n' + SCRIPT.replace("(1)", "( 1 )")),
        ("stages/helper.py", "import numpy as np\ndef double(x):\n 'Twice.'\n return (2*x)\n"),
        ("stages/other.py", "import scipy\n"),
        ("lazy/notes.txt", "what nobody names"),
    ],
)  # fmt: skip
def test_comments_docstrings_layout_and_what_is_not_imported_change_nothing(project, name, text):
    before = describe(project)
    (project / name).write_text(text)
    assert describe(project) == before


@pytest.mark.parametrize(
    "text",
    [
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import stages.other\n",
        "try:\n    x = 1\nexcept OSError:\n    from stages import other\n    raise\n",
    ],
)
def test_imports_for_types_and_for_the_words_of_a_refusal_do_not_count(project, text):
    (project / "stages/helper.py").write_text(f"{text}\ndef double(x): ...\n")
    assert "stages.other" not in describe(project)["modules"]


def test_an_import_that_a_handler_goes_on_with_counts(project):
    text = "try:\n    x = 1\nexcept OSError:\n    from stages import other\n    x = other\n"
    (project / "stages/helper.py").write_text(f"{text}\ndef double(x): ...\n")
    assert "stages.other" in describe(project)["modules"]


def test_relative_imports_are_followed(project):
    (project / "stages/clean.py").write_text("from . import helper\nfrom .other import x\n")
    assert list(describe(project)["modules"]) == ["stages.clean", "stages.helper", "stages.other"]


def test_another_version_of_a_library_shows(project, monkeypatch):
    before = describe(project)
    monkeypatch.setattr(code_digest, "version", lambda name: "99")
    after = describe(project)
    assert after["libraries"] == {"numpy": "99"}
    assert after["digest"] != before["digest"]


def test_only_what_changed_is_written_and_scan_has_no_file(project):
    assert write_stage_code(project) == ["clean", "helper", "other"]
    assert write_stage_code(project) == []
    (project / "stages/other.py").write_text("import scipy\n")
    assert write_stage_code(project) == ["other"]
    assert json.loads((project / "data/code/other").read_text())["libraries"].keys() == {"scipy"}


def test_a_script_that_is_no_python_is_named(project):
    (project / "stages/helper.py").write_text("def double(x):\n    return (\n")
    with pytest.raises(UserError, match=r"helper\.py, line 2: not valid Python"):
        describe(project)


@pytest.mark.parametrize("python", ["python3.12", "python3.13"])
def test_the_digests_are_equal_on_other_pythons(python):
    code = (
        "from pathlib import Path\n"
        "from darkroom.core.code_digest import StageCode\n"
        "for path in sorted(Path('stages').glob('*.py')):\n"
        "    print(StageCode(Path.cwd()).describe(f'stages.{path.stem}')['modules'])\n"
    )
    command = shutil.which(python)
    if command is None or subprocess.run([command, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"no {python} here")
    ours, theirs = (
        subprocess.run(
            [each, "-S", "-c", code], cwd=REPOSITORY, capture_output=True, check=True
        ).stdout
        for each in (sys.executable, command)
    )
    assert b"darkroom.core.files" in ours
    assert ours == theirs


def test_a_constant_none_differs_from_no_value(project):
    digests = set()
    for body in ("return None", "return", "return 0", "x = None", "x = 0"):
        (project / "stages/helper.py").write_text(f"def double(x):\n    {body}\n")
        digests.add(describe(project)["digest"])
    assert len(digests) == 5
