"""What tests ask of a page: its tables, its pictures, and that it loads nothing."""

import re
from html.parser import HTMLParser


class Found(HTMLParser):
    """Tables by their cells, picture sources, titles, and every address that a browser would load."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.pictures, self.loads, self.titles, self.words = [], [], [], [], []
        self._open = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "img":
            self.pictures.append(values["src"])
        self.loads += [values[name] for name in ("src", "srcset", "data", "poster") if values.get(name)]
        if tag == "link":
            self.loads.append(values["href"])
        self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        inside = self._open[-1] if self._open else ""
        if inside in ("td", "th"):
            self.tables[-1][-1][-1] += data.strip()
        elif inside == "h2":
            self.titles.append(data)
        self.words.append(data)


def read_page(path):
    """The page, after checking that it is whole and asks nobody for anything."""
    text = path.read_text(encoding="utf-8")
    found = Found(text)
    assert all(source.startswith("data:") for source in found.loads)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|<iframe|<script src", text)
    assert "default-src 'none'" in text
    assert text.rstrip().endswith("</html>")
    return found
