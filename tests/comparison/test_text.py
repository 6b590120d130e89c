import doctest

from hypothesis import given
from hypothesis import strategies as st

from darkroom.comparison import text
from darkroom.comparison.differences import compare
from darkroom.comparison.pairs import pair
from darkroom.comparison.text import as_markdown, as_text, code
from tests.comparison.revisions import COUNT, labelled, ratings, revision, revisions


def test_few_groups_are_said():
    few = ratings(1, groups=[f"g{n % 7}" for n in range(COUNT)])
    base, head = revisions(few, few)
    shown = as_text(compare(base, head, pair(base, head)))
    assert "Intervals are unreliable: 7 groups." in shown


def test_a_doubt_about_an_interval_does_not_deny_it():
    base, head = revisions(ratings(1), ratings(1.5))
    found = compare(base, head, pair(base, head))
    srcc, *others = found.differences
    doubted = srcc._replace(interval=srcc.interval._replace(note="interval unreliable: biased"))
    shown = as_text(found._replace(differences=[doubted, *others]))
    assert "SRCC: interval unreliable: biased." in shown
    assert "No interval" not in shown


def test_the_examples_in_docstrings_hold():
    assert doctest.testmod(text).attempted > 0
    assert doctest.testmod(text).failed == 0


EVIL = "a|b`c` <img src=x> @everyone [x](javascript:1) #1 https://evil.example www.evil.example\n|"


def test_markdown_survives_any_name():
    base = labelled(9, ("cat", EVIL))
    head = labelled(3, ("cat", EVIL))
    one, two = (revision(t, EVIL, positive_class=EVIL) for t in (base, head))
    shown = as_markdown(compare(one, two, pair(one, two)))
    for sign in ("<img", "`", "@", "[", " #1", "://", "www.", "javascript:"):
        assert sign not in shown
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {8}
    assert len(rows) == 5


@given(st.text())
def test_code_holds_nothing_that_markdown_or_html_reads(text):
    inside = code(text).removeprefix("<code>").removesuffix("</code>")
    assert not set(inside) & set("<>|`@[]()*_~!\\\n:./\"'")


def test_the_terminal_survives_any_name():
    one = revision(labelled(9), "\x1b[31m\n", positive_class="dog")
    assert "\x1b" not in as_text(compare(one, one, pair(one, one)))
