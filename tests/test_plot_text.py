"""Sentences on colours: nothing that they say is obeyed."""

import importlib.util
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from xaijax import plot, words
from xaijax.plot._features import NEGATIVE, POSITIVE

SENTENCE = "A good film,\nnot a bad one"
SPANS = [(2, 6), (7, 11), (13, 16), (19, 22)]
PHI = np.array([2.0, 0.5, -1.0, 0.0])
MINUS = "\N{MINUS SIGN}"


class Reader(HTMLParser):
    """What a browser would see: the tags, and each text with the style and the title it is under."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.open.append(dict(attributes))

    def handle_endtag(self, tag):
        self.open.pop()

    def handle_data(self, data):
        self.texts.append((data, self.open[-1]))


def behind(attributes):
    return to_rgb(re.search(r"background:(#\w+)", attributes["style"]).group(1))


def test_words_have_the_colours_of_their_values():
    read = Reader(plot.text(PHI, SENTENCE, SPANS))
    named = {data: attributes for data, attributes in read.texts if "title" in attributes}
    assert [a["title"] for a in named.values()] == ["+2.00", "+0.500", f"{MINUS}1.00", "+0.00"]
    assert list(named) == ["good", "film", "not", "bad"]
    for (word, attributes), value in zip(named.items(), PHI, strict=True):
        ink = np.array(to_rgb(NEGATIVE if value < 0 else POSITIVE))
        part = abs(value) / 2
        np.testing.assert_allclose(
            behind(attributes), part * ink + 1 - part, atol=0.003, err_msg=word
        )


def test_the_sentence_stays_whole_and_the_legend_says_what_colours_mean():
    texts = [data for data, _ in Reader(plot.text(PHI, SENTENCE, SPANS, unit="<p>")).texts]
    assert "".join(texts).startswith(SENTENCE)
    assert texts[-3:] == [f"against {MINUS}2.00", "+2.00 for", " (<p>)"]


@pytest.mark.parametrize(
    "evil",
    [
        "<script>alert(1)</script>",
        '" onmouseover="alert(1)',
        "</span></div><img src=x onerror=alert(1)>",
        "&lt;b&gt; &amp; '",
        "<!-- ",
    ],
)
def test_no_word_becomes_a_tag(evil):
    for sentence, spans in ((evil, [(0, len(evil))]), (f"a {evil}", [(0, 1)])):
        page = plot.text([1.0], sentence, spans, unit=evil)
        read = Reader(page)
        assert set(read.tags) == {"div", "span"}
        assert {
            key for tag in re.findall(r"<\w+([^>]*)>", page) for key in re.findall(r"(\w+)=", tag)
        } <= {
            "style",
            "title",
            "dir",
        }
        assert "".join(data for data, _ in read.texts).startswith(sentence)


def test_html_needs_no_other_file_and_shows_in_a_notebook():
    page = plot.text(PHI, SENTENCE, SPANS)
    assert not re.search(r"https?:|src=|href=|url\(|<script|<link", page)
    assert isinstance(page, str)
    assert page._repr_html_() == page


def test_spans_of_words_and_of_tokenizers():
    sentence = words("good, good film")
    read = Reader(plot.text(np.arange(len(sentence.x)), sentence.text, sentence.spans))
    assert [a["title"] for _, a in read.texts if "title" in a][-1] == f"+{len(sentence.x) - 1}.00"
    special = Reader(plot.text([9.0, 1.0], "good", [(0, 0), (0, 4)]))  # [CLS] is not in the text
    assert [data for data, a in special.texts if "title" in a] == ["good"]


def test_a_terminal_shows_the_same_colours():
    pytest.importorskip("rich")
    shown = plot.text_terminal(PHI, SENTENCE, SPANS)
    assert shown.plain == f"{SENTENCE}\nagainst {MINUS}2.00 {'▇' * 9} +2.00 for"
    read = Reader(plot.text(PHI, SENTENCE, SPANS))
    wanted = [behind(a) for _, a in read.texts if "title" in a][:3]  # 0 has none
    styles = [str(span.style).split(" on ")[1] for span in shown.spans if " on " in str(span.style)]
    assert [to_rgb(style) for style in styles] == wanted


def test_no_word_is_an_order_to_a_terminal():
    console = pytest.importorskip("rich.console").Console
    evil = "\x1b[31m[red]a[/red] \x9b2J\x07 b\r\x08\x7f"
    shown = plot.text_terminal([1.0], evil, [(0, 4)], unit="\x1b[2J")
    out = io.StringIO()
    console(file=out, no_color=True, width=200).print(shown)
    printed = out.getvalue()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", printed)
    assert "␛[31m[red]a[/red]" in printed


def test_without_rich_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install rich"):
        plot.text_terminal(PHI, SENTENCE, SPANS)


def test_nothing_to_show_has_no_colours():
    read = Reader(plot.text([0.0], "good", [(0, 4)]))
    assert behind(read.texts[0][1]) == (1, 1, 1)


@pytest.mark.parametrize("draw", [plot.text, plot.text_terminal])
@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((PHI, 3, SPANS), TypeError, "sentence must be a string, got 3"),
        ((PHI, SENTENCE, SPANS[:2]), ValueError, r"spans must be a pair for each value, \(4, 2\)"),
        ((PHI, "short", SPANS), ValueError, r"spans must be in \[0, 5\]"),
        (([1, 2], "good", [(0, 3), (2, 4)]), ValueError, "spans must not overlap"),
        (([1], "good", [(3, 1)]), ValueError, "spans must not overlap"),
        (([], "", []), ValueError, "attribution must be numbers"),
        (([np.nan], "good", [(0, 4)]), ValueError, "attribution must be finite"),
    ],
)
def test_errors(draw, arguments, error, match):
    with pytest.raises(error, match=match):
        draw(*arguments)
