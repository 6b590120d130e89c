"""Every reason that a record may have is explained."""

from tests.harness import REPOSITORY


def test_every_reason_is_explained():
    import re

    from darkroom.sources.failure_reasons import REASONS

    code = "".join(path.read_text() for path in (REPOSITORY / "darkroom/sources").rglob("*.py"))
    raised = re.findall(r"(?:Unreadable|Transient|BrokenArchive|_Broke)\(\"(\w+)\"\)", code)
    returned = re.findall(r"refused\([^()]*, \"(\w+)\"\)", code)
    assert {*raised, *returned} <= set(REASONS)
