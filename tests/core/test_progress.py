import logging

import pytest

from darkroom.core import progress as module
from darkroom.core.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_the_closing_line_has_every_count(caplog, clock):
    with caplog.at_level(logging.INFO):
        progress = Progress("clean", 10)
        progress.advance(10)
        clock[0] += 4
        progress.close(
            kept=6, rejected={"truncated": 1, "too_small": 2}, failed={"decoder_hung": 1}
        )
    assert caplog.messages[-1] == (
        "clean: 10 in, 6 kept, 3 rejected (too_small 2, truncated 1), 1 failed (decoder_hung 1),"
        " 4.0 s, 2 images/s"
    )


def test_without_a_terminal_a_line_comes_every_few_seconds_and_no_more(caplog, clock):
    with caplog.at_level(logging.INFO):
        progress = Progress("embed", 100)
        for _ in range(20):
            clock[0] += 1
            progress.advance(5)
    assert len(caplog.messages) == 4
    assert caplog.messages[0] == "embed: 25 of 100 images, 5/s, 15 s left"


def test_no_image_and_no_time_divide_by_nothing(caplog, clock):
    with caplog.at_level(logging.INFO):
        Progress("scan", 0).close(kept=0, rejected={})
    assert caplog.messages == ["scan: 0 in, 0 kept, 0 rejected, 0 failed, 0.0 s, 0 images/s"]
