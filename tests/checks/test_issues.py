import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darkroom.checks.issues import ISSUES, SCORED, SUMMARY, complete, flag, summarise
from darkroom.checks.measure import PARTS
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params

FINE = {
    **dict.fromkeys(PARTS.names, 0.9),  # the scores
    "key": "a", "fault": None, "fault_detail": None, "width": 100, "height": 80, "format": "JPEG",
    "mode": "RGB", "bytes": 999, "odd_structure": False,
}  # fmt: skip
BROKEN = dict.fromkeys(PARTS.names) | {"key": "b", "fault": "truncated", "bytes": 9}


def parts(*rows):
    return pd.DataFrame(rows, columns=PARTS.names)


def clean_params(values, **changes):
    values["clean"] |= changes
    return check_params(values, Params).clean


@pytest.mark.parametrize(
    ("change", "issues"),
    [
        ({"width": 31, "height": 31}, {"too_small"}),
        ({"width": 801}, {"too_elongated", "odd_aspect_ratio", "odd_size", "odd_resolution"}),
        ({"height": 1001}, {"too_elongated", "odd_aspect_ratio", "odd_size", "odd_resolution"}),
        ({"width": 34, "height": 100}, {"odd_aspect_ratio"}),
        ({"blurry_score": 0.28}, {"blurry"}),
        ({"dark_score": 0.31}, {"dark"}),
        ({"light_score": 0.04}, {"light"}),
        ({"low_information_score": 0.29}, {"low_information"}),
        ({"mode": "L"}, {"greyscale"}),
        ({"width": 300, "height": 240}, {"odd_size", "odd_resolution", "low_bits_per_pixel"}),
        ({"bytes": 99_000}, {"odd_file_size"}),
        ({"bytes": 240}, {"low_bits_per_pixel", "odd_file_size"}),
        ({"low_jpeg_quality_score": 0.24}, {"low_jpeg_quality"}),
        ({"uniform_border_score": 0.89}, {"uniform_border"}),
        ({"clipped_score": 0.79}, {"clipped"}),
        ({"colourless_score": 0.0}, {"colourless"}),
        ({"colour_cast_score": 0.49}, {"colour_cast"}),
        ({"odd_structure": True}, {"odd_structure"}),
    ],
)
def test_each_issue_is_flagged_and_rejects_when_asked(values, change, issues):
    table = parts(*[FINE] * 20, FINE | change)
    informed = summarise(table, clean_params(values, reject=[]))
    assert not informed.loc[:19, [f"is_{issue}" for issue in ISSUES]].to_numpy().any()
    found = {issue for issue in ISSUES if informed.loc[20, f"is_{issue}"]}
    assert found >= issues
    assert found - issues <= {
        "odd_size",
        "odd_resolution",
        "odd_aspect_ratio",
        "low_bits_per_pixel",
    }
    assert set(informed["status"]) == {"kept"}
    for issue in issues:
        rejected = summarise(table, clean_params(values, reject=[issue]))
        assert list(rejected["status"]) == ["kept"] * 20 + ["rejected"]
        assert rejected["reason"].tolist()[-1] == issue


def test_by_default_only_limits_reject(values):
    ugly = FINE | {name: 0.0 for name in PARTS.names if name.endswith("_score")} | {"mode": "L"}
    summary = summarise(parts(ugly, FINE | {"width": 900}), clean_params(values))
    assert list(summary["status"]) == ["kept", "rejected"]
    assert summary["reason"].tolist() == [None, "too_elongated"]
    assert summary["is_blurry"].tolist() == [True, False]


def test_a_threshold_itself_is_fine(values):
    edge = FINE | {"width": 320, "height": 32, "blurry_score": 0.29, "dark_score": 0.32}
    flags = flag(complete(parts(edge)), clean_params(values)).iloc[0]
    assert set(flags.index[flags]) == {"odd_aspect_ratio"}


def test_faults_reject_whatever_the_settings_and_have_no_flags(values):
    crashed = BROKEN | {"key": "c", "fault": "decoder_crashed"}
    hung = BROKEN | {"key": "d", "fault": "decoder_hung"}
    summary = summarise(parts(FINE, BROKEN, crashed, hung), clean_params(values, reject=[]))
    assert list(summary["status"]) == ["kept", "rejected", "failed", "failed"]
    assert list(summary["reason"])[1:] == ["truncated", "decoder_crashed", "decoder_hung"]
    columns = [name for name in SUMMARY.names if name.startswith("is_") or name.endswith("_score")]
    assert summary.loc[1:, columns].isna().all(axis=None)
    assert summary.loc[0, columns].notna().all()


def test_faults_do_not_change_what_is_odd(values):
    sizes = [FINE | {"width": 100 + n, "bytes": 900 + n} for n in range(9)]
    params = clean_params(values)
    alone, with_fault = (summarise(parts(*rows), params) for rows in (sizes, [*sizes, BROKEN]))
    assert with_fault.loc[:8, "odd_size_score"].tolist() == alone["odd_size_score"].tolist()


def test_only_faults_or_nothing_at_all_gives_a_whole_table(values):
    for rows in ([], [BROKEN]):
        summary = summarise(parts(*rows), clean_params(values))
        assert list(summary.columns) == SUMMARY.names
        assert len(summary) == len(rows)


def test_of_several_issues_the_first_of_the_list_is_the_reason(values):
    bad = FINE | {"width": 400, "height": 20, "dark_score": 0}
    params = clean_params(values, reject=["dark", "too_elongated", "too_small"])
    assert summarise(parts(bad), params)["reason"].tolist() == ["too_small"]


IMAGES = st.fixed_dictionaries(
    {"width": st.integers(1, 5000), "height": st.integers(1, 5000), "bytes": st.integers(1, 10**7)}
    | {name: st.floats(0, 1) for name in PARTS.names if name.endswith("_score")}
    | {"mode": st.sampled_from(["RGB", "L", "P"]), "fault": st.sampled_from([None, "truncated"])}
)
RELAXED = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=30,
)


@RELAXED
@given(rows=st.lists(IMAGES, min_size=1, max_size=8), turn=st.integers(0, 7))
def test_rows_are_conserved_and_their_order_changes_no_flag(values, rows, turn):
    params = clean_params(values, reject=list(ISSUES))
    table = pd.DataFrame(rows).reindex(columns=PARTS.names)
    table["key"] = [f"{number}" for number in range(len(rows))]
    summary = summarise(table, params)
    assert summary["key"].tolist() == table["key"].tolist()
    turned = table.iloc[[*range(turn % len(rows), len(rows)), *range(turn % len(rows))]]
    again = summarise(turned.reset_index(drop=True), params).sort_values("key", ignore_index=True)
    pd.testing.assert_frame_equal(again, summary)
    sound = summary[[f"{issue}_score" for issue in SCORED]][table["fault"].isna()]
    assert sound.ge(0).all(axis=None)
    assert sound.le(1).all(axis=None)


@RELAXED
@given(rows=st.lists(IMAGES, min_size=1, max_size=6), issue=st.sampled_from(SCORED),
       limits=st.tuples(st.floats(0, 1), st.floats(0, 1)))  # fmt: skip
def test_a_higher_threshold_flags_no_fewer(values, rows, issue, limits):
    table = complete(pd.DataFrame(rows).reindex(columns=PARTS.names))
    lax, strict = (
        flag(table, clean_params(values, **{f"{issue}_below": limit}))[issue]
        for limit in sorted(limits)
    )
    assert (lax <= strict).all()
