"""The page in a real Chromium: chat, search, keys, width, colours and foreign scripts."""

from urllib.parse import quote

import pytest
from selenium.webdriver.common.keys import Keys

from tests.clients.page.page import PHONE, Page
from tests.serve.running import serving

BROKEN = "document.title='broken'"
INJECTION = f'<img src=x onerror="{BROKEN}"><script>{BROKEN}</script>'
PARTS = ("chat", "search", "model")


def test_an_answer_is_shown_while_it_comes(page, told):
    page.say("hello")
    told.pieces.append("One")
    page.until(lambda: page.texts(".answer .text") == ["One"])
    assert page.one(".answer").get_attribute("aria-busy") == "true"
    assert page.one("#send").text == "Stop"
    told.pieces += [" two.", None]
    page.answered()
    assert page.texts(".answer .text") == ["One two."]
    assert page.one(".answer").get_attribute("aria-busy") == "false"
    assert page.one("#messages").get_attribute("aria-live") == "polite"
    assert page.texts(".question") == ["hello"]


def test_the_chat_is_sent_with_each_message(page, told):
    told.pieces += ["Hi.", None]
    page.say("hello")
    page.answered()
    page.say("and then?")
    page.until(lambda: len(told.asked) == 2)
    page.answered()
    assert [(each["role"], each["content"]) for each in told.asked[1]] == [
        ("user", "hello"),
        ("assistant", "Hi."),
        ("user", "and then?"),
    ]
    page.one("#new").click()
    assert page.texts(".question") == []
    assert page.focused() == "question"
    page.say("anew")
    page.until(lambda: len(told.asked) == 3)
    assert len(told.asked[2]) == 1


@pytest.mark.parametrize("how", ["button", "escape"])
def test_stop_ends_the_answer_at_the_server(page, told, how):
    told.pieces.append("Once")
    page.say("hello")
    page.until(lambda: page.texts(".answer .text") == ["Once"])
    if how == "button":
        page.one("#send").click()
    else:
        page.press(Keys.ESCAPE)
    page.answered()
    assert told.answers[0].closed.wait(20)
    page.client.until("answers_running", 0)
    assert page.texts(".remark") == ["Stopped."]
    assert page.texts(".answer .text") == ["Once"]
    assert page.focused() == "question"
    told.pieces.append(None)
    page.say("go on")
    page.answered()
    assert told.asked[1][1]["content"] == "Once"


def test_the_keyboard_alone(page_with_store, told):
    page = page_with_store
    assert page.focused() == "question"
    page.press("one", Keys.SHIFT, Keys.ENTER, Keys.NULL, "two")
    assert page.one("#question").get_attribute("value") == "one\ntwo"
    assert told.asked == []
    reached = []
    for _ in range(4):
        page.press(Keys.TAB)
        reached.append(page.focused() or page.driver.switch_to.active_element.text)
    assert reached == ["source", "send", "query", "Search"]
    page.script("document.getElementById('question').focus()")
    told.pieces += ["Yes.", None]
    page.press(Keys.ENTER)
    page.answered()
    assert page.texts(".question") == ["one\ntwo"]


def test_the_focus_can_be_seen(page):
    page.press(Keys.SHIFT, Keys.TAB, Keys.NULL)
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert page.script(outline) == "solid"
    page.one("#question").click()
    assert "none" not in page.script(
        "return getComputedStyle(document.querySelector('.box')).boxShadow"
    )


def test_what_the_model_says_is_never_html(page, told):
    told.pieces += [INJECTION, None]
    page.say(INJECTION)
    page.answered()
    assert page.texts(".answer .text") == page.texts(".question") == [INJECTION]
    assert page.all("#messages img, #messages script") == []
    assert "broken" not in page.driver.title


def test_passages_are_never_html(page_with_store):
    page = page_with_store
    page.one("#query").send_keys("who founded the inn?", Keys.ENTER)
    page.until(lambda: page.all("#found .passage"))
    first = next(text for text in page.texts("#found .text") if "Mary" in text)
    assert "<b>inn</b>" in first


def test_a_search_shows_sources_and_scores(page_with_store):
    page = page_with_store
    page.one("#query").send_keys("who founded the inn?", Keys.ENTER)
    page.until(lambda: page.all("#found .passage"))
    found = page.client.post("/v1/search", {"query": "who founded the inn?", "k": 5}).json["data"]
    assert page.texts("#found .score") == [f"{each['score']:.2f}" for each in found]
    shown = page.texts("#found .where")
    assert all(each["heading"] in text for each, text in zip(found, shown, strict=True))
    assert {text.split()[0] for text in shown} == {"inn.md:3", "inn.md:7"}
    assert page.one("#search-state").text == f"{len(found)} passages"


def test_an_answer_from_the_store_has_its_passages(page_with_store, told):
    page = page_with_store
    told.pieces += ["Mary Smith.", None]
    page.say("Who founded the inn?")
    page.answered()
    assert page.texts(".answer > .text") == ["Mary Smith."]  # their list is shown as passages
    summary = page.one(".answer .passage summary")
    assert "inn.md:" in summary.text
    assert not page.one(".answer .passage .text").is_displayed()
    summary.send_keys(Keys.ENTER)
    assert page.one(".answer .passage .text").is_displayed()
    page.say("And when?")
    page.until(lambda: len(told.asked) == 2)
    assert told.asked[1][1]["content"] == "Mary Smith."


def test_the_model_alone_can_be_asked(page_with_store, told):
    page = page_with_store
    page.one("#source").send_keys("the model")
    told.pieces += ["Hello.", None]
    page.say("hello")
    page.answered()
    assert told.asked == [[{"role": "user", "content": "hello"}]]
    assert page.all(".answer .passage") == []


def test_the_facts(page_with_store):
    facts = page_with_store.client.get("/info").json
    names, values = page_with_store.texts("#facts dt"), page_with_store.texts("#facts dd")
    shown = dict(zip(names, values, strict=True))
    assert shown["Name"] == "tiny"
    assert shown["Context"] == f"{facts['context_length']:,} tokens"
    assert shown["Memory in use"].endswith("iB")
    assert shown["Store notes"] == "1 document, 2 passages"


def test_text_from_right_to_left(page, told):
    told.pieces += ["السفرجل يُقطف بعد الصقيع.\nAnd English.", None]
    page.say("متى؟")
    page.answered()
    code = "return getComputedStyle(document.querySelector(arguments[0])).direction"
    for selector in (".question", ".answer .text"):
        assert page.script(code, selector) == "rtl"
    box = page.one(".answer .text").rect
    lines = page.script(
        "const range = document.createRange();"
        "range.selectNodeContents(document.querySelector('.answer .text'));"
        "const lines = [...range.getClientRects()].filter((each) => each.width);"
        "return lines.map((each) => [each.left, each.right])"
    )
    assert lines[0][1] == pytest.approx(box["x"] + box["width"], abs=2)  # at the right
    assert lines[-1][0] == pytest.approx(box["x"], abs=2)  # English at the left


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_read(page, told, scheme):
    page.emulate(scheme)
    told.pieces += ["Hello.", None]
    page.say("hello")
    page.answered()
    ground = luminance(page.script("return getComputedStyle(document.body).backgroundColor"))
    assert (ground > 0.5) == (scheme == "light")
    for selector in (".answer .text", "#keys", "#facts dt"):
        colour = f"return getComputedStyle(document.querySelector('{selector}')).color"
        text = luminance(page.script(colour))
        brighter, darker = max(text, ground) + 0.05, min(text, ground) + 0.05
        assert brighter / darker >= 4.5, selector  # WCAG 2.2, 1.4.3


def luminance(colour):
    """The relative luminance (WCAG 2.2) of "rgb(r, g, b)"."""
    parts = [float(part) / 255 for part in colour.partition("(")[2].rstrip(")").split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_width_of_a_phone(page_with_store, told):
    page = page_with_store
    page.resize(*PHONE)
    told.pieces += ["word" * 100, None]  # one long word must not widen the page
    page.say("hello " * 30)
    page.answered()
    for view in PARTS:
        page.one(f"nav [data-view={view}]").click()
        assert page.script("return document.documentElement.scrollWidth") <= PHONE[0]
        shown = [
            name for name in ("chat", "search", "model") if page.one(f"#{name}").is_displayed()
        ]
        assert shown == [view]
        for control in page.all("button, input, textarea, select"):
            if control.is_displayed():
                box = control.rect
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= PHONE[0]
                assert box["y"] + box["height"] <= PHONE[1]


def test_an_error_is_told_and_the_message_kept(page, told):
    page.say("word " * 2000)
    page.answered()
    assert "maximum context length" in page.one(".failure").text
    assert page.one("#question").get_attribute("value").startswith("word word")


def test_a_key_is_asked_for(chromium, told):
    with serving(told, key="sesame") as client:
        page = Page(chromium, client)
        page.open(ready=False)
        page.until(lambda: page.one("#key").is_displayed())
        assert page.focused() == "key"
        page.press("wrong", Keys.ENTER)
        page.until(lambda: "not right" in page.one("#key-text").text)
        page.press("sesame", Keys.ENTER)
        page.until(lambda: page.one("#state").get_attribute("data-state") == "ready")
        told.pieces += ["Hello.", None]
        page.say("hello")
        page.answered()
        assert page.texts(".answer .text") == ["Hello."]
        page.open()  # the tab knows the key
        assert page.script("return localStorage.length") == 0
        page.script("sessionStorage.clear()")
        page.logged()


@pytest.mark.parametrize("key", ["sesame", "se+sa/m=e %41"])
def test_an_address_can_bring_the_key(chromium, told, key):
    with serving(told, key=key) as client:
        page = Page(chromium, client)
        page.url += f"#key={quote(key)}"
        page.open()
        assert page.script("return location.href") == page.url.partition("#")[0]
        page.url = page.url.partition("#")[0]
        page.open()  # the tab knows the key
        page.script("sessionStorage.clear()")
        page.logged()


@pytest.mark.parametrize("end", ["key=wrong", "key=%"])
def test_a_wrong_key_of_an_address_is_told(chromium, told, end):
    with serving(told, key="sesame") as client:
        page = Page(chromium, client)
        page.url += f"#{end}"
        page.open(ready=False)
        page.until(lambda: "not right" in page.one("#key-text").text)
        page.press("sesame", Keys.ENTER)
        page.until(lambda: page.one("#state").get_attribute("data-state") == "ready")
        page.script("sessionStorage.clear()")
        page.logged()


@pytest.mark.parametrize("end", ["", "key=", "key", "keys=a"])
def test_other_ends_of_an_address_are_no_key(chromium, told, end):
    with serving(told, key="sesame") as client:
        page = Page(chromium, client)
        page.url += f"#{end}"
        page.open(ready=False)
        page.until(lambda: page.one("#key").is_displayed())
        assert "not right" not in page.one("#key-text").text
        page.logged()


def test_no_other_address_is_asked(page_with_store):
    page = page_with_store
    page.one("#query").send_keys("inn", Keys.ENTER)
    page.until(lambda: page.all("#found .passage"))
    asked = page.script("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert asked
    assert all(each.startswith(page.url) for each in asked)
