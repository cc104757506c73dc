import json
import random
import re
import sys
import time

import pytest

from ropewalk.corpus import CorpusOptions, run
from ropewalk.corpus.decode import MAX_UNREADABLE_FRACTION, decode, unreadable_fraction
from ropewalk.corpus.extract import _FLAT, _estimated_nesting, clean, extract
from ropewalk.corpus.precise import load_trafilatura
from ropewalk.runtime.errors import MachineError

FILLER = "<p>A paragraph that is long enough to be taken for the main content of this page, surely.</p>"


def text_of(body: str) -> str:
    return extract(f"<html><head><title> A \n title </title></head><body>{body}</body></html>", max_nesting=512).text


def test_code_keeps_its_lines_and_indentation():
    code = "def f(x):\n    if x:\n        return <b>1</b>\n\n\n    return 2"
    assert code.replace("<b>", "").replace("</b>", "") in text_of(f"{FILLER}<pre>{code}</pre>{FILLER}")


def test_lists_of_prose_near_the_root_survive_and_menus_do_not():
    prose = "<ul><li>The value is <a href='x'>a</a> signed integer.</li><li>The value is a blob.</li></ul>"
    menu = "<ul><li><a href='a'>Home</a></li><li><a href='b'>Download</a></li></ul>"
    for depth in range(4):
        page = "<div>" * depth + FILLER + prose + (menu if depth < 3 else "") + FILLER + "</div>" * depth
        text = text_of(page)
        assert "• The value is a signed integer." in text
        assert "Home" not in text


def test_navigation_scripts_and_permalink_marks_go():
    page = f"<nav>Home Docs</nav><script>var x = 1</script><h2>Usage<a class='permalink' href='#u'>¶</a></h2>{FILLER}"
    text = text_of(page)
    assert "Usage\n" in text
    assert not {"¶", "var x", "Home"} & {found for found in ("¶", "var x", "Home") if found in text}


def test_clean_removes_control_characters_and_long_gaps():
    assert clean("\n\na\x00\x0bb \t\r\nc\u2028d¶\n\n\n\n\n\ne  ") == "ab\nc\nd\n\n\ne"


def test_title_is_one_line():
    assert extract("<title> A \n title </title>" + FILLER, max_nesting=512).title == "A title"
    assert extract(FILLER, max_nesting=512).title is None


def test_deep_nesting_is_refused_quickly_and_sloppy_pages_are_not():
    started = time.monotonic()
    deep = extract("<div>" * 20_000 + "text" + "</div>" * 20_000, max_nesting=512)
    assert deep.nesting is not None and deep.nesting >= 20_000
    assert time.monotonic() - started < 3
    sloppy = extract(FILLER + "<p><span>never closed" * 3_000, max_nesting=3_000 * 2)
    assert sloppy.nesting is None


def test_long_lists_take_linear_time():
    """Going through found elements is quadratic in resiliparse 2.0.1: 3,000 list items once took over 20 seconds."""
    items = "".join(f"<li><a href='{number}'>item {number}</a>" for number in range(5_000))
    started = time.process_time()
    text_of(f"{FILLER}<ul>{items}</ul>{FILLER}")
    assert time.process_time() - started < 5


def test_labels_are_believed_until_the_bytes_contradict():
    text = "Ein schöner Tag für Großmütter – häufig übermäßig heiß. " * 5
    assert decode(text.encode("utf-8"), None) == text
    assert decode(text.encode("cp1252"), "iso-8859-1") == text
    assert decode(text.encode("utf-8"), "ascii") == text
    assert decode(b"\xef\xbb\xbf" + text.encode(), "cp1252") == text
    assert decode(b"\xff\xfe" + text.encode("utf-16-le"), "utf-8") == text
    assert decode(b"<meta charset=iso-8859-2>" + "źdźbło".encode("iso-8859-2"), None).endswith("źdźbło")
    russian = "Все счастливые семьи похожи друг на друга. " * 5
    assert decode(russian.encode("cp1251"), None) == russian
    assert decode(russian.encode("cp1251"), "utf-8") == russian


def test_binary_is_unreadable():
    assert unreadable_fraction(decode(bytes(range(256)) * 50, None)) > MAX_UNREADABLE_FRACTION
    assert unreadable_fraction("plain text\twith\nlines") == 0


def test_precise_gives_the_text_without_what_stands_around_it(prose):
    paragraphs = prose(1).split("\n\n")
    article = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs) + "<pre>if x:\n    y</pre>"
    aside = "<nav>Home Docs</nav><aside><p>Share on everything</p></aside>"
    html = (
        f"<html><title> A \n title </title><body>{aside}<article>{article}</article><footer>Imprint</footer></body></html>"
    )
    page = extract(html, max_nesting=512, extractor="precise")
    assert page.title == "A title" and page.text == "\n".join([*paragraphs, "if x:\n    y"])
    again = [extract(html, max_nesting=512, extractor="precise").text for _ in range(5)]
    assert set(again) == {page.text}  # with deduplicate, the fourth would be empty
    assert extract("<p></p>", max_nesting=512, extractor="precise").text == ""
    deep = extract("<div>" * 20_000 + "text", max_nesting=512, extractor="precise")
    assert deep.nesting is not None and deep.nesting >= 20_000


def test_the_extractor_and_its_version_are_part_of_the_recipe(tmp_path, prose, html, write_warc):
    warc = write_warc(tmp_path / "pages.warc.gz", [(f"http://site/{number}", html(prose(number))) for number in range(4)])
    made = {
        extractor: run(CorpusOptions(pages=warc, extractor=extractor, workers=1), out=tmp_path / extractor)
        for extractor in ("fast", "precise")
    }
    libraries = {name: json.loads((tmp_path / name / "manifest.json").read_text())["libraries"] for name in made}
    assert set(libraries["precise"]) - set(libraries["fast"]) == {"lxml", "trafilatura"}
    assert made["fast"].facts["documents"] == made["precise"].facts["documents"] == 4


def test_without_trafilatura_one_sentence_names_the_command(tmp_path, monkeypatch, prose, html, write_warc):
    warc = write_warc(tmp_path / "pages.warc.gz", [("http://site/", html(prose(1)))])
    load_trafilatura.cache_clear()
    monkeypatch.setitem(sys.modules, "trafilatura", None)
    with pytest.raises(MachineError, match=r"pip install 'ropewalk\[precise\]'"):
        run(CorpusOptions(pages=warc, extractor="precise"), out=tmp_path / "corpus")


def test_nesting_is_guessed_as_by_walking_over_the_tags():
    tags = "<div <DIV> </div </P> <Option\t <optionx <options-x> <colgroup> <bLink <h1 <li <table\n"
    parts = [*tags.split(" "), "<", "/", "</", "<é", "é", "<-", "<1", ">"]
    drawn = random.Random(1)
    for _ in range(2_000):
        html = "".join(drawn.choices(parts, k=drawn.randrange(40)))
        depth = deepest = 0
        for closing, name in re.findall(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*)", html):
            if name.lower() not in _FLAT:
                depth = max(0, depth - 1) if closing else depth + 1
                deepest = max(deepest, depth)
        assert _estimated_nesting(html, 0) == deepest, html


def test_comments_of_readers_are_left_out():
    said = "<div class='comments'><p>What one reader thought of all this.</p></div>"
    text = text_of(f"<article>{FILLER * 3}</article>{said}")
    assert "surely" in text and "reader" not in text
