"""The styles of a DOCX that are headings."""

from docx.oxml.ns import qn
from lxml import etree

_OUTLINE = f"{qn('w:pPr')}/{qn('w:outlineLvl')}"
_BODY_TEXT = 9  # as an outline level, counted from 0
_HEADING = "heading "  # a number follows, whatever Word's language is
_TITLE = "title"
_VALUE = qn("w:val")


def heading_levels(styles: etree._Element) -> dict[str, int]:
    """The level of each paragraph style by its id: 1 to 9, 0 for text."""
    by_id = {style.get(qn("w:styleId"), ""): style for style in styles.iter(qn("w:style"))}
    return {name: _level(name, by_id) for name in by_id}


def outline_level(element: etree._Element) -> int | None:
    """The level that a paragraph or style sets itself, None if it sets none."""
    outline = element.find(_OUTLINE)
    if outline is None:
        return None
    level = int(outline.get(_VALUE, _BODY_TEXT))
    return 0 if level >= _BODY_TEXT else level + 1


def _level(name: str, by_id: dict[str, etree._Element]) -> int:
    """The level of a style, its own or that of the style it is based on."""
    seen: set[str] = set()
    while name in by_id and name not in seen:
        seen.add(name)
        style = by_id[name]
        title = _value(style, "w:name").lower()
        if title == _TITLE:
            return 1
        number = title.removeprefix(_HEADING)
        if title.startswith(_HEADING) and number.isdecimal():
            return int(number)
        if (level := outline_level(style)) is not None:
            return level
        name = _value(style, "w:basedOn")
    return 0


def _value(style: etree._Element, tag: str) -> str:
    child = style.find(qn(tag))
    return "" if child is None else child.get(_VALUE, "")
