"""Paths and URLs of params.yaml."""

import pytest

from darkroom.core.paths import without_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.org/x.jpg", "https://a.org/x.jpg"),
        ("https://me:pass@a.org:81/x.jpg?token=1#top", "https://a.org:81/x.jpg"),
        ("http://[::1", "invalid-url"),
        ("no url", "invalid-url"),
    ],
    ids=["plain", "secrets", "broken", "words"],
)
def test_secrets_stay_out_of_tables(url, shown):
    assert without_secrets(url) == shown
