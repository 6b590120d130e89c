"""Where bytes lie: what a killed run has staged is never lost, whatever came in between."""

from darkroom.core.shards import key_of, read_locations, read_member, shard_name, write_shard
from darkroom.sources.store.shard_writer import ShardWriter

PICTURES = [b"picture %d" % number for number in range(4)]


def test_staged_shards_keep_apart_when_others_took_their_numbers(tmp_path):
    """As a purge does between a download that was killed and its rerun."""
    raw, staging = tmp_path / "raw", tmp_path / "staged"
    for number, content in enumerate(PICTURES[:3], 1):
        write_shard(staging / shard_name(number), [(f"{key_of(content)}.bin", content)])
    other = key_of(PICTURES[3])
    write_shard(raw / shard_name(1), [(f"{other}.bin", PICTURES[3])])
    known = dict(read_locations(raw / shard_name(1)))
    writer = ShardWriter(raw, staging, known)
    writer.publish()
    assert set(writer.locations) == {key_of(content) for content in PICTURES}
    found = {key: read_member(raw, location) for key, location in writer.locations.items()}
    assert found == {key_of(content): content for content in PICTURES}
    assert writer.locations[other].shard == shard_name(1)
