import random
import time

import pytest

from ropewalk.corpus import CorpusOptions, run
from ropewalk.corpus.personal import EMAIL_SUBSTITUTES, IP_SUBSTITUTES, find_emails, find_public_ips, replace_addresses
from ropewalk.corpus.reading import read_documents


def emails(text: str) -> list[str]:
    return [text[start:end] for start, end in find_emails(text)]


def ips(text: str) -> list[str]:
    return [text[start:end] for start, end in find_public_ips(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Write to anna.bell+rope@mail.example.org, or not.", ["anna.bell+rope@mail.example.org"]),
        ("<a@b.c>;d@e.f", ["a@b.c", "d@e.f"]),
        ("a@b.cc@d.ee", ["a@b.cc"]),
        ("x..y.z@host.net", ["y.z@host.net"]),
        ("dot.@host.net and @host.net and a@host", []),
        ("++plus@host.net", ["plus@host.net"]),
        ("root@[8.8.8.8]", ["root@[8.8.8.8]"]),
        ("é+ü@host.net", []),
    ],
)
def test_emails(text, found):
    assert emails(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("8.8.8.8 and 10.0.0.1, 127.0.0.1, 192.168.1.1", ["8.8.8.8"]),
        ("version 9.9.9.999", ["9.9.9.99"]),
        ("08.8.8.8 or 256.1.1.1", ["56.1.1.1"]),
        ("192.0.2.1", []),
    ],
)
def test_public_ip_addresses(text, found):
    assert ips(text) == found


def test_an_address_has_one_substitute_in_a_document_and_all_are_used():
    text = "ann@a.org, bob@b.org, ann@a.org; 8.8.4.4"
    cleaned = replace_addresses(text, "page")
    first, second, third = cleaned.text.partition(";")[0].split(", ")
    assert first == third and {first, second} <= set(EMAIL_SUBSTITUTES) and (cleaned.emails, cleaned.ip_addresses) == (3, 1)
    assert cleaned == replace_addresses(text, "page")
    several = [replace_addresses("a@b.cc 8.8.4.4", f"page {number}").text.split() for number in range(100)]
    assert {email for email, _ in several} == set(EMAIL_SUBSTITUTES) and {ip for _, ip in several} == set(IP_SUBSTITUTES)
    assert all(replace_addresses(one, "x").ip_addresses == 0 for one in IP_SUBSTITUTES)


def test_hostile_texts_take_linear_time():
    started = time.process_time()
    for text in ("a." * 200_000, "a@" * 200_000, "a.a-" * 100_000 + "@", "@" + "a-" * 200_000, "1." * 200_000):
        emails(text), ips(text)
    assert time.process_time() - started < 5


def test_documents_are_written_without_addresses(tmp_path, prose, html, write_warc):
    pages = [
        (f"http://site/{number}", html(f"{prose(number)} Mail ann{number}@rope.org or 8.8.8.8.")) for number in range(8)
    ]
    warc = write_warc(tmp_path / "pages.warc.gz", pages)
    for workers in (1, 2):
        options = CorpusOptions(pages=warc, replace_addresses=True, near_duplicates=False, workers=workers)
        artifact = run(options, out=tmp_path / f"corpus-{workers}")
    texts = [row["text"] for batch in read_documents(artifact.path, columns=("text",)) for row in batch.to_pylist()]
    assert len(texts) == 8 and not any("rope.org" in text or "8.8.8.8" in text for text in texts)
    facts = artifact.facts
    assert (facts["emails_replaced"], facts["ip_addresses_replaced"]) == (8, 8)
    assert facts["characters"] == sum(map(len, texts)) and facts["bytes_utf8"] == sum(len(text.encode()) for text in texts)


@pytest.mark.peer
def test_what_is_replaced_is_what_datatrove_replaces(peer):
    chance = random.Random(5)
    parts = [
        "a",
        "bo",
        "Z9",
        ".",
        "..",
        "@",
        "@",
        "-",
        "+",
        "_",
        " ",
        "é",
        "[",
        "]",
        "8.8.8.8",
        "10.1.2.3",
        "1.1.1.1",
        "25",
        ":",
        "\n",
        "org",
        "'",
        "{",
    ]
    texts = ["".join(chance.choices(parts, k=chance.randint(1, 30))) for _ in range(20_000)]
    for text, theirs in zip(texts, peer("addresses", texts), strict=True):
        emailless = _marked(text, find_emails(text), "\x01")
        assert _marked(emailless, find_public_ips(emailless), "\x02") == theirs, repr(text)


def _marked(text: str, places: list[tuple[int, int]], mark: str) -> str:
    for start, end in reversed(places):
        text = text[:start] + mark + text[end:]
    return text
