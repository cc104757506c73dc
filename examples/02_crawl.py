"""crawl: a folder of HTML, served on loopback and crawled as any site would be, becomes WARC files."""

import sys
from html import escape
from pathlib import Path
from pydoc_data.topics import topics

import ropewalk
from ropewalk.crawl.warc import Page, read_pages

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples")
web = folder / "web"
web.mkdir(parents=True, exist_ok=True)
texts = [text for _, text in sorted(topics.items()) if 2_000 < len(text) < 20_000][:40]
links = "".join(f'<li><a href="{number}.html">Topic {number}</a></li>' for number in range(len(texts)))
(web / "index.html").write_text(f"<title>Topics</title><ul>{links}</ul>", encoding="utf-8")
for number, text in enumerate(texts):
    body = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in text.split("\n\n"))
    (web / f"{number}.html").write_text(f"<title>Topic {number}</title><main>{body}</main>", encoding="utf-8")

pages = ropewalk.api.crawl(folder / "pages", serve={"topics": str(web)}, serve_port=8485, delay_seconds=0)
print(f"{pages.facts['pages']} pages, {pages.facts['bytes']:,} bytes")
for record in read_pages(pages.path / "pages-00000.warc.gz"):
    if isinstance(record, Page):
        print(record.url, len(record.payload), "bytes")
        break
