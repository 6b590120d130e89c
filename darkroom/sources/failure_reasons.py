"""Why a record of a source has no bytes: every reason code that `download` writes.

Two reasons belong to withdrawn records: `gone` and `replaced`, or `purged`. `http_404` and the like
name the status that a server answered.
"""

from darkroom.core.params.download import DownloadParams

REASONS = {
    # files
    "permission_denied": "you may not read the file",
    "vanished": "the file went away while it was read",
    "unreadable": "the disk, or the driver of a remote store, reports an error",
    "too_large": "larger than download.max_file_bytes",
    # archives and shards
    "escapes": "the member's name leads outside: an absolute path, a drive, or `..`",
    "link": "the member is a symbolic or hard link",
    "special_file": "the member is a device, a pipe, a socket, or a sparse file",
    "encrypted": "the member needs a password",
    "unsupported_method": "the zip packs the member by a method that is not supported",
    "duplicate_name": "another member before it has the same name",
    "overlaps": "members of the zip share their bytes, as in a bomb",
    "bomb": "unpacks to more than download.max_archive_ratio or .max_archive_bytes allow",
    "bad_name": "the member's name is longer than any path may be",
    "corrupt": "the archive is damaged here, or a checksum is wrong",
    "truncated": "the archive ends here, before it should",
    "not_an_archive": "the shard is no tar",
    "no_image": "no member of the sample is an image",
    # URLs and remote files
    "incomplete": "the body ended before its announced length",
    "timeout": "the server said nothing for download.timeout_s",
    "connection_failed": "the server refused or broke the connection",
    "unknown_host": "the server's name does not resolve",
    "bad_url": "not an http or https URL",
    "bad_response": "the answer is no valid HTTP",
    "bad_range": "the server sent another part than was asked for",
    "bad_encoding": "the body is packed, and damaged",
    "unknown_encoding": "the body is packed in a way that was not asked for",
    "too_slow": "the body dripped: under 1,024 bytes per second over download.timeout_s",
    "robots_tag": "the server asks by X-Robots-Tag; see download.obey_robots_tag",
    "wrong_checksum": "the bytes are not those of the list's checksum column",
    "total_limit": "download.max_total_bytes was reached before; raise it",
    "bad_certificate": "the server's certificate is not valid",
    "private_address": "a private address; see download.allow_private_hosts",
    "too_many_redirects": "more than five redirects",
    # records that a source no longer has
    "gone": "the source no longer has it",
    "replaced": "the source has other bytes under this name now",
    "purged": "a takedown request: see `darkroom purge`",
}


def is_cured(reason: str, params: DownloadParams) -> bool:
    """Return whether a setting that has changed since lets in what failed for this reason."""
    return {
        "private_address": params.allow_private_hosts,
        "robots_tag": not params.obey_robots_tag,
        "total_limit": params.max_total_bytes is None,
    }.get(reason, False)
