"""Bodies: which bytes a server means, and which rest of them is trusted."""

import pytest

from darkroom.sources.http.response import check_range, validator_of

NOW, OLD = "Wed, 01 May 2024 12:00:00 GMT", "Wed, 01 May 2024 11:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"ETag": '"v1"'}, '"v1"'), ({"ETag": 'W/"v1"'}, None), ({"ETag": "v1"}, None),
        ({"ETag": '"v1"', "Last-Modified": OLD, "Date": NOW}, '"v1"'),
        ({"Last-Modified": OLD, "Date": NOW}, OLD), ({"Last-Modified": NOW, "Date": NOW}, None),
        ({"Last-Modified": OLD}, None), ({"Last-Modified": "once", "Date": NOW}, None), ({}, None),
        ({"ETag": 'W/"v1"', "Last-Modified": OLD, "Date": NOW}, None),
        ({"Last-Modified": OLD, "Date": f"Wed, 01 May 2024 12:00:00 +{'9' * 20}"}, None),
    ],
)  # fmt: skip
def test_only_what_names_the_very_bytes_is_a_validator(headers, validator):
    assert validator_of(headers) == validator


@pytest.mark.parametrize(
    ("headers", "trusted"),
    [
        ({"Content-Range": "bytes 5-9/10"}, True), ({"Content-Range": "bytes 5-7/10"}, True),
        ({"Content-Range": "bytes 5-9/*"}, True), ({"Content-Range": "bytes 0-9/10"}, False),
        ({"Content-Range": "bytes 4-9/10"}, False), ({"Content-Range": "bytes 5-9/11"}, False),
        ({"Content-Range": "bytes 5-10/10"}, False), ({"Content-Range": "bytes 5-4/10"}, False),
        ({"Content-Range": "bytes */10"}, False), ({"Content-Range": "items 5-9/10"}, False),
        ({"Content-Range": "bytes 5-9/10", "Content-Length": "4"}, False),
        ({"Content-Range": "bytes 5-9/10", "ETag": '"v"'}, True),
        ({"Content-Range": "bytes 5-9/10", "ETag": '"w"'}, False), ({}, False),
    ],
)  # fmt: skip
def test_a_range_is_trusted_only_if_it_is_the_rest_of_these_bytes(headers, trusted):
    assert check_range(headers, 5, 10, '"v"') is trusted
