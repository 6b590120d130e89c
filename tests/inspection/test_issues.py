import pandas as pd
import pytest

from stages.inspection.issues import ISSUES, flag, summarise
from stages.inspection.measure import PARTS
from stages.lib.params import check_params

FINE = {
    "key": "a", "fault": None, "fault_detail": None, "width": 100, "height": 80, "format": "JPEG",
    "mode": "RGB", "bytes": 999, "blurry_score": 0.9, "dark_score": 0.9, "light_score": 0.9,
    "low_information_score": 0.9,
}  # fmt: skip
BROKEN = dict.fromkeys(PARTS.names) | {"key": "b", "fault": "truncated", "bytes": 9}


def parts(*rows):
    return pd.DataFrame(rows, columns=PARTS.names)


def clean_params(values, **changes):
    values["clean"] |= changes
    return check_params(values).clean


@pytest.mark.parametrize(
    ("change", "issue"),
    [
        ({"width": 31, "height": 31}, "too_small"),
        ({"width": 801}, "odd_aspect_ratio"),
        ({"height": 1001}, "odd_aspect_ratio"),
        ({"blurry_score": 0.28}, "blurry"),
        ({"dark_score": 0.31}, "dark"),
        ({"light_score": 0.04}, "light"),
        ({"low_information_score": 0.29}, "low_information"),
    ],
)
def test_each_issue_is_flagged_alone_and_rejects_when_asked(values, change, issue):
    table = parts(FINE, FINE | change)
    flags = flag(table, clean_params(values, reject=[]))
    assert flags.iloc[0].to_dict() == dict.fromkeys(ISSUES, False)
    assert [name for name in ISSUES if flags.iloc[1][name]] == [issue]
    informed = summarise(table, clean_params(values, reject=[]))
    assert list(informed["status"]) == ["kept", "kept"]
    rejected = summarise(table, clean_params(values, reject=[issue]))
    assert list(rejected["status"]) == ["kept", "rejected"]
    assert rejected["reason"].tolist()[1] == issue


def test_a_threshold_itself_is_fine(values):
    edge = FINE | {"width": 320, "height": 32, "blurry_score": 0.29, "dark_score": 0.32}
    assert not flag(parts(edge), clean_params(values)).to_numpy().any()


def test_faults_reject_whatever_the_settings_and_have_no_flags(values):
    crashed = BROKEN | {"key": "c", "fault": "decoder_crashed"}
    hung = BROKEN | {"key": "d", "fault": "decoder_hung"}
    summary = summarise(parts(FINE, BROKEN, crashed, hung), clean_params(values, reject=[]))
    assert list(summary["status"]) == ["kept", "rejected", "failed", "failed"]
    assert list(summary["reason"])[1:] == ["truncated", "decoder_crashed", "decoder_hung"]
    assert summary.loc[1:, "is_blurry"].isna().all()


def test_of_several_issues_the_first_of_the_list_is_the_reason(values):
    bad = FINE | {"width": 400, "height": 20, "dark_score": 0}
    params = clean_params(values, reject=["dark", "odd_aspect_ratio", "too_small"])
    assert summarise(parts(bad), params)["reason"].tolist() == ["too_small"]
