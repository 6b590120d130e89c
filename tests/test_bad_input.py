"""Bad inputs, and the message of each: tables of them are in `tests/bad_input/`."""

import logging
import os
import resource
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.bad_input import archives, closed, folders, lists, pictures, settings, state, tables
from tests.bad_input.cases import PHOTOS, matches, put, run, run_rows, write_sources
from tests.harness import not_root, png

CASES = [
    case
    for module in (settings, folders, tables, lists, archives)
    for case in module.CASES
]  # fmt: skip
CLOSED = [case for _, case in closed.CASES]
ROWS = [rows for module in (lists, archives, pictures) for rows in module.ROWS]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_bad_input_is_explained(tmp_path, caplog, case):
    case.make(tmp_path)
    explain(tmp_path, caplog, case)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, patches):
    """Return a folder in which scan, download and clean have run, with two images."""
    root = tmp_path_factory.mktemp("finished")
    write_sources(root, [PHOTOS], {})
    put(
        root, {f"photos/{name}.png": png(patch) for name, patch in zip("ab", patches, strict=False)}
    )
    for path in (root / "photos").iterdir():
        os.utime(path, ns=(10**18, 10**18))  # long enough ago for their hashes to be kept
    assert run(root, "scan download clean") is None
    return root


@pytest.mark.parametrize("case", state.CASES, ids=lambda case: case.id)
def test_damage_since_the_last_run_is_explained(finished, tmp_path, caplog, case):
    root = tmp_path / "repository"
    shutil.copytree(finished, root)
    case.make(root)
    explain(root, caplog, case)


def explain(root, caplog, case):
    with caplog.at_level(logging.INFO):
        message = run(root, case.stages)
    if case.warns:
        assert message is None
        log = [line.replace(str(root), "ROOT") for line in caplog.messages]
        assert any(matches(case.says, line) for line in log), "\n".join(log)
    else:
        assert message is not None, "nothing was said"
        assert matches(case.says, message), message
    assert "secret" not in f"{message}{caplog.text}"


def test_a_limit_on_the_size_of_files_is_explained(finished, tmp_path):
    root = tmp_path / "repository"
    shutil.copytree(finished, root)
    put(root, {"photos/c.jpg": b"c" * 50_000})
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, usual[1]))
    try:
        message = run(root, "download")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert message == (
        "ROOT/.darkroom/download/shards/00001.tar: File too large; raise the limit on the size of "
        "files (ulimit -f) and run again"
    )
    assert run(root, "download") is None


@pytest.mark.parametrize(
    ("path", "case"), [pytest.param(*both, id=both[1].id) for both in closed.CASES]
)
def test_what_is_closed_to_the_user_is_explained(tmp_path, caplog, path, case):
    case.make(tmp_path)
    run(tmp_path, case.stages)  # imports all that it needs: nobody may be kept from Python's files
    with tempfile.TemporaryDirectory() as folder:  # pytest's own may be closed to others
        root = Path(folder)
        case.make(root)
        for each in (root, *root.rglob("*")):
            each.chmod(0o777 if each.is_dir() else 0o666)
        (root / path).chmod(0)
        with not_root():
            explain(root, caplog, case)
        (root / path).chmod(0o777)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Return what became of each record of a source, by name; each source is read once."""
    done = {}

    def run_once(rows):
        if rows.id not in done:
            done[rows.id] = run_rows(tmp_path_factory.mktemp("rows"), rows)
        return done[rows.id]

    return run_once


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        pytest.param(rows, name, id=name if "…" not in name else rows.id)
        for rows in ROWS
        for name in rows.expected
    ],
)
def test_a_bad_file_member_or_url_is_a_row_with_its_reason(found, rows, name):
    became = [row for record, row in found(rows).items() if matches(name, record)]
    assert became == [rows.expected[name]]
    assert "secret" not in str(found(rows))


@pytest.mark.parametrize("rows", ROWS, ids=lambda rows: rows.id)
def test_nothing_else_is_a_row(found, rows):
    assert len(found(rows)) == len(rows.expected)


def test_each_case_has_a_name_of_its_own():
    names = [case.id for case in [*CASES, *state.CASES, *CLOSED]]
    assert sorted(set(names)) == sorted(names)
