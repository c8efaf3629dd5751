"""HTML: what a browser shows, in its order, and what is left out is told."""

import pytest

from gritlite import MissingExtraError
from gritlite.rag import extra
from gritlite.rag.document import Block, Document, ReadingOptions
from gritlite.rag.formats import parse
from gritlite.rag.store import Store


def texts(page: str) -> list[str]:
    return [block.text for block in parse(page.encode(), ".html").blocks]


def test_html_is_read_as_a_browser_shows_it():
    page = (
        "<html><head><title> Old\n mills </title><style>p{}</style></head><body>"
        "<script>no()</script><h2>Cats</h2><p>Seven <b>grey</b>\n cats.<!-- no --></p>"
        "<ul><li>one<li>two</ul><pre>a\n  b</pre><table><tr><td>1</td><td>2</td></tr></table>tail"
    )
    document = parse(page.encode(), ".html")
    assert document.title == "Old mills"
    assert [(block.text, block.level) for block in document.blocks] == [
        ("Cats", 2),
        ("Seven grey cats.", 0),
        ("one", 0),
        ("two", 0),
        ("a\n  b", 0),
        ("1 | 2", 0),
        ("tail", 0),
    ]


def test_html_may_leave_out_where_its_head_ends():
    page = b"<html><head><title>T</title><meta charset=utf-8><body><p>Hello"
    assert parse(page, ".html") == Document("T", (Block("Hello"),))


def test_html_may_be_nested_deeply():
    assert texts("<div>" * 20_000 + "deep" + "</div>" * 20_000) == ["deep"]


@pytest.mark.parametrize(
    "hidden",
    [
        "<p hidden>secret one",
        "<p hidden=hidden>secret one",
        "<div style='color: red; DISPLAY : none'><p>secret <b>one</b></div>",
        "<span style='visibility:hidden'>secret one</span>",
        "<dialog>secret one</dialog>",
        "<div popover>secret one</div>",
        "<ul><li hidden>secret<li hidden>one</ul>",
    ],
)
def test_what_a_page_hides_is_left_out_and_told(hidden):
    # the paragraph and the list item end where the next begins, as in a browser
    document = parse(f"<p>before{hidden}<p>after".encode(), ".html")
    assert [block.text for block in document.blocks] == ["before", "after"]
    assert document.notes == ("2 words that the page hides were left out",)


@pytest.mark.parametrize(
    "shown",
    [
        "<p hidden=until-found>shown</p>",  # a browser's search finds it
        "<p aria-hidden=true>shown</p>",
        "<details><p>shown</p></details>",
        "<dialog open>shown</dialog>",
        "<div style='display: block'>shown</div>",
        "<svg><title>no</title><defs><text>no</text></defs><text>shown</text></svg>",
        "<textarea>shown</textarea>",
    ],
)
def test_what_a_page_shows_is_read(shown):
    assert texts(f"<p>before</p>{shown}<p>after") == ["before", "shown", "after"]


def test_what_is_never_shown_is_left_out_unsaid():
    page = (
        "<body><template>a</template><noscript>b</noscript><script>c</script>"
        "<style>d</style><iframe>f</iframe><p>e"
    )
    assert parse(page.encode(), ".html") == Document("", (Block("e"),))


CODE = """\
def first(x):
    if x:
\treturn {
            "a": 1,
        }

    return None"""


@pytest.mark.parametrize(
    "page",
    [
        f"<pre>\n{CODE}\n</pre>",
        f"<pre><code class=python>{CODE}</code></pre>",
        "<pre>" + "".join(f"<div>{line}</div>" for line in CODE.split("\n")) + "</pre>",
        "<pre>" + CODE.replace("return", "<span class=k>return</span>") + "</pre>",
        "<pre>" + CODE.replace("\n", "<br>") + "</pre>",
        f"<table><tr><td><pre>{CODE}</pre></table>",
    ],
)
def test_code_keeps_its_lines_and_indentation(page):
    assert texts(page) == [CODE]


def test_an_element_in_a_word_does_not_part_it():
    assert texts("<p>photo<b>syn</b><font>the</font>sis, <x>E</x>=<math><mi>m</mi></math>") == [
        "photosynthesis, E=m"
    ]
    assert texts("one<my-row>two</my-row><my-row>three</my-row><button>four</button>") == [
        *("one", "two", "three", "four")
    ]


@pytest.mark.parametrize(
    "link",
    [
        '<a class="headerlink" href="#howto" title="Link to this heading">¶</a>',
        '<a class="hash-link" href="#howto" aria-label="Direct link">\u200b</a>',
        '<a class="anchor" href="page.html#howto" aria-hidden="true"><svg></svg></a>',
        '<a href="#howto">🔗</a>',
        '<a href="#howto">#</a>',
        '<a href="#howto">§</a>',
    ],
)
def test_headings_lose_their_permalink(link):
    assert texts(f"<h1>HOWTO{link}</h1><dl><dt>open(){link}<dd>Opens.</dl>") == [
        *("HOWTO", "open()", "Opens.")
    ]


def test_links_with_words_stay():
    assert texts('<h1><a href="#howto">HOWTO</a></h1><p>As said<a href="#n1">[1]</a>') == [
        *("HOWTO", "As said[1]")
    ]


def test_images_are_read_by_their_descriptions():
    assert texts('<p>Here: <img src=x alt="a red boat"> <img src=y alt="">') == ["Here: a red boat"]


def test_xhtml_is_read_as_xml():
    page = (
        '<?xml version="1.0" encoding="utf-8"?><html><head><title>T</title><script src="a>b"/>'
        "<style/></head><body><p/><a id='x'/>one<br/>two<iframe src='x'/>"
        "<p>three<![CDATA[ 1 < 2 ]]><textarea/></p><hr/><div hidden='hidden'/>four</body></html>"
    )
    document = parse(page.encode(), ".xhtml")
    assert document == Document("T", tuple(map(Block, ("one\ntwo", "three 1 < 2", "four"))))


SITE = """<html><head><title>Inns</title></head><body>
<header><a href="/">Home</a> <a href="/shop">Shop</a></header>
<nav><ul><li><a href="1">Previous topic</a><li><a href="2">Next topic</a></ul></nav>
<main><h1>The inn<a class="headerlink" href="#inn">¶</a></h1><p hidden>Not yet open</p>
<p>The inn was founded in 1850 by Mary Smith, who had come from the
north with her <code>sister</code>, and it soon became known for its food.</p>
<p>It has seven rooms. The blue room looks over the harbour, where the red ferry leaves at noon.</p>
<pre>def beds():
    return 3</pre>
<table><tr><th>Room<th>Beds<tr><td>Blue<td>3</table></main>
<footer>Copyright 2020. Terms of use.</footer></body></html>"""


def test_navigation_is_read_by_default():
    assert "Previous topic" in texts(SITE)


def test_the_main_text_can_be_read_alone_and_the_rest_is_told():
    document = parse(SITE.encode(), ".html", ReadingOptions(main_text=True))
    text = "\n".join(block.text for block in document.blocks)
    assert document.title == "Inns"
    assert document.blocks[0] == Block("The inn", level=1)
    code = "def beds():\n    return 3"
    for words in ("with her sister, and it", "seven rooms", code, "Blue | 3"):
        assert words in text
    assert not any(words in text for words in ("topic", "Shop", "Terms", "yet"))
    (note,) = document.notes
    assert note == "only its main text was read: 11 words were left out"


def test_a_short_main_text_keeps_its_structure():
    page = b"<nav><a href=1>Menu</a></nav><main><h1>Cats</h1><p>Seven cats.</p></main>"
    document = parse(page, ".html", ReadingOptions(main_text=True))
    assert document.blocks == (Block("Cats", level=1), Block("Seven cats."))
    assert document.notes == ("only its main text was read: 1 words were left out",)


def test_a_page_without_a_main_text_is_read_whole():
    document = parse(b"<footer>Menu</footer>", ".html", ReadingOptions(main_text=True))
    assert document.blocks == (Block("Menu"),)
    assert document.notes == ("no main text was found: the whole page was read",)


def test_main_text_is_a_setting_of_a_store(tmp_path, tiny_model, monkeypatch):
    (tmp_path / "a.html").write_text(SITE)
    with Store.open(tmp_path / "a.grit", tiny_model, main_text=True) as store:
        assert "main text" in store.add(tmp_path / "a.html").changes.warnings[0]
        assert not store.search("previous", mode="words")
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name == "trafilatura" else name)
    with pytest.raises(MissingExtraError, match=r"gritlite\[web\]"):
        Store.open(tmp_path / "b.grit", tiny_model, main_text=True)
    assert not (tmp_path / "b.grit").exists()
