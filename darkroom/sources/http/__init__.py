"""Fetching over http and https: requests, responses, retries, addresses, large files."""
