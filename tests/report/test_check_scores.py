import pandas as pd

from tests.report.data_set import full, params_of, report, section, text_of


def test_each_check_shows_its_ends_its_limit_and_what_is_flagged(tmp_path):
    data = full()
    for number, row in enumerate(data.summary):
        if row["width"]:
            row["blurry_score"] = number / 100
            row["is_blurry"] = number / 100 < 0.1
    data.write(tmp_path)
    summary = pd.read_parquet(tmp_path / "data/clean/summary.parquet")
    summary.assign(is_too_small=False).to_parquet(tmp_path / "data/clean/summary.parquet")
    sheet = section(report(tmp_path, params_of("rating")).page, "scores")
    text = text_of(sheet)
    assert "low: few edges" in text
    assert "Limit 0.29: 5 of 22 flagged" in text  # copies are left out
    assert "lowest 0.020 flagged rejected small.jpg 0.030 flagged image 0.jpg" in text
    assert "0.260 disputed.jpg" in text
    assert sheet.count("<figure") == sheet.count("data:image/jpeg;base64,") == 10
    assert sheet.count('class="flagged"') == 5
    assert sheet.count('class="limit"') == 1
