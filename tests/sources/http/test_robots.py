"""X-Robots-Tag: what servers forbid to all, or to us."""

import pytest

from darkroom.sources.http.robots import forbids_use

AGENT = "darkroom/2 (builds image data sets; me@example.org)"


@pytest.mark.parametrize(
    ("tags", "forbidden"),
    [
        ([], False), (["all"], False), (["nofollow, nosnippet"], False), ([""], False),
        (["noai"], True), (["noimageai"], True), (["noindex"], True), (["noimageindex"], True),
        (["none"], True), (["NoFollow,NOINDEX"], True), (["nofollow", "noai"], True),
        (["darkroom: noai"], True), (["Darkroom:none"], True), (["*: noai"], True),
        (["otherbot: noai"], False), (["otherbot: nofollow, noindex"], False),
        (["otherbot: noindex, darkroom: noai"], True), (["otherbot: noindex", "noai"], True),
        (["unavailable_after: 25 Jun 2030 15:00:00 PST, noindex"], True),
        (["max-image-preview: none"], False), (["noaid"], False), (["darkroomer: noai"], False),
    ],
)  # fmt: skip
def test_robots_tags_are_respected(tags, forbidden):
    assert forbids_use(tags, AGENT) is forbidden
