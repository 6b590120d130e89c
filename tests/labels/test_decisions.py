import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.core.errors import UserError
from darkroom.labels.decisions import (
    REVIEW,
    Decision,
    as_csv,
    check,
    parse,
    read_decisions,
    write_decisions,
)

A, B, C = "a" * 32, "b" * 32, "c" * 32
HEAD = "key,other,decision,value,note\n"

keys = st.text("0123456789abcdef", min_size=32, max_size=32)
texts = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=20).filter(
    lambda text: text == text.strip() != ""
)
notes = st.one_of(st.just(""), texts)
decisions = st.one_of(
    st.builds(Decision, keys, st.just(""), st.sampled_from(["keep", "reject"]), st.just(""), notes),
    st.builds(Decision, keys, st.just(""), st.just("label"), texts, notes),
    st.builds(
        lambda key, mean, note: Decision(key, "", "mean", str(mean), note),
        keys, st.floats(-1e6, 1e6), notes,
    ),
    st.builds(
        Decision, keys, keys, st.sampled_from(["duplicate", "not_duplicate"]), st.just(""), notes
    ).filter(lambda row: row.key != row.other),
)  # fmt: skip


def rows(text, where="data/review.csv"):
    return parse(text.encode() if isinstance(text, str) else text, where)


@given(st.lists(decisions, max_size=8, unique_by=lambda row: check(row).subject))
def test_what_is_written_is_read_and_the_text_is_stable(given_rows):
    checked = sorted(map(check, given_rows))
    text = as_csv(reversed(checked))
    assert rows(text) == checked
    assert as_csv(rows(text)) == text


def test_an_absent_or_empty_file_decides_nothing(tmp_path):
    assert not read_decisions(tmp_path).keep
    write_decisions(tmp_path / REVIEW, [])
    assert (tmp_path / REVIEW).read_text() == HEAD
    assert read_decisions(tmp_path).waiting(set()) == 0
    assert rows("") == []


def test_stages_get_sets_and_values(tmp_path):
    lines = [f"{A},,keep,,", f"{B},,reject,,blurred", f"{A},,label,cat,", f"{C},,mean,7.5,",
             f"{B},{A},duplicate,,", f"{B},{C},not_duplicate,,"]  # fmt: skip
    (tmp_path / "data").mkdir()
    (tmp_path / REVIEW).write_text(HEAD + "\n".join(lines))
    found = read_decisions(tmp_path)
    assert (found.keep, found.reject) == ({A}, {B})
    assert (found.label, found.mean) == ({A: "cat"}, {C: 7.5})
    assert (found.duplicate, found.not_duplicate) == ({(A, B)}, {(B, C)})
    assert found.waiting({A, B}) == 2


EXPECTED = [Decision(A, "", "label", "café"), Decision(B, C, "duplicate")]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(f"{HEAD}{A},,label,café,\n{B},{C},duplicate,,\n".encode(), id="plain"),
        pytest.param(
            f"\ufeff{HEAD}{A},,label,café,\r\n{B},{C},duplicate,,\r\n".encode(), id="mark, CRLF"
        ),
        pytest.param(
            f"Decision;value;key;other\nlabel;café;{A};\nduplicate;;{B};{C}\n".encode(),
            id="semicolons, other order, no note",
        ),
        pytest.param(
            f"key\tother\tdecision\tvalue\n{A}\t\tlabel\tcafé\n{C}\t{B}\tduplicate\t".encode(),
            id="tabs, no last line end",
        ),
        pytest.param(
            f"{HEAD},,,,\n{A.upper()},, label , café ,\n{C},{B},duplicate,,,,,\n,,,,\n".encode(),
            id="empty lines, upper case, spaces, more commas",
        ),
    ],
)
def test_what_spreadsheets_make_of_it_is_read(content):
    assert [row._replace(note="") for row in rows(content)] == EXPECTED


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "'=x", "''-", "'quoted", "a,b", 'a"b'])
def test_a_cell_is_no_formula_to_a_spreadsheet_and_comes_back(cell):
    text = as_csv([Decision(A, "", "label", cell, cell)])
    assert rows(text) == [Decision(A, "", "label", cell, cell)]
    assert not any(f",{sign}" in text or f',"{sign}' in text for sign in "=+-@")


def test_a_formula_typed_by_hand_is_read_as_it_stands():
    assert rows(f"{HEAD}{A},,mean,-1.5,\n")[0].value == "-1.5"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([f"{A},,remove,,"], ["line 2", "expected one of keep, reject", "'remove'"]),
        ([f"{A},,keep,,", "1.2E+31,,keep,,"], ["line 3", "32 hexadecimal", "1.2e+31"]),
        ([f"{A},,duplicate,,"], ["line 2", "another image"]),
        ([f"{A},{A},duplicate,,"], ["line 2", "another image"]),
        ([f"{A},{B},keep,,"], ["line 2", "expected nothing for keep"]),
        ([f"{A},,keep,yes,"], ["line 2", "expected nothing for keep", "'yes'"]),
        ([f"{A},,label,,"], ["line 2", "expected a label"]),
        ([f'{A},,label,"a\nb",'], ["line 3", "on one line"]),
        ([f"{A},,mean,good,"], ["line 2", "expected a number", "'good'"]),
        ([f"{A},,mean,nan,"], ["line 2", "expected a number"]),
        ([f"{A},,keep,,,,more"], ["line 2", "expected 5 cells, got 7"]),
        ([f"{A},,keep,,", f"{A},,reject,,"], ["line 2 says keep", "line 3 says reject", A]),
        ([f"{A},,label,x,", f"{A},,label,y,"], ["line 2 says label 'x'", "line 3 says label 'y'"]),
        (
            [f"{A},{B},duplicate,,", "", f"{B},{A},not_duplicate,,"],
            ["line 2 says duplicate", "line 4 says not_duplicate", f"{A} and {B}"],
        ),
    ],
)
def test_a_broken_row_names_its_line(lines, words):
    with pytest.raises(UserError) as caught:
        rows(HEAD + "\n".join(lines))
    for word in ["data/review.csv", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name,decision\n", "line 1: expected the columns key, other"),
        (f"{HEAD[:-1]},mine\n".encode(), "line 1"),
        (HEAD.encode("utf-16"), "expected UTF-8"),
        (f"{A},,keep,,".encode(), "line 1"),
    ],
)
def test_a_file_of_another_kind_is_refused(content, words):
    with pytest.raises(UserError, match=words):
        rows(content)


def test_a_row_that_says_the_same_again_is_no_error():
    assert len(rows(f"{HEAD}{A},{B},duplicate,,\n{B},{A},duplicate,,again\n")) == 1
