"""Addresses as others write them."""

import pytest

from ropewalk.crawl.urls import site_host


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://example.org/a//b?c=//d", "example.org"),
        ("https://me:secret@example.org:8443?q", "example.org:8443"),
        ("//example.org#part", "example.org"),
        ("http://[::1]:80/", "[::1]:80"),
        ("http://[x/", "[x"),
        ("file:deep//page.html", ""),
        ("not an address", ""),
        ("", ""),
    ],
)
def test_the_host_is_read_from_any_text(url, host):
    assert site_host(url) == host
