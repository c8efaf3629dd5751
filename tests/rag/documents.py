"""Documents of each format, made by hand or by libraries other than those that read them."""

import io
import re
import zlib
from pathlib import Path

import docx
import pypdf


def pdf(pages: list[str], title: str = "") -> bytes:
    """A PDF with a line of text for each line of a page, written by hand (PDF 1.4)."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, page in enumerate(pages):
        lines = " ".join(f"({line}) Tj T*" for line in page.splitlines())
        content = f"BT /F1 12 Tf 14 TL 72 720 Td {lines} ET"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    objects.append(f"<< /Title ({title}) >>")
    return _numbered([each.encode("latin-1") for each in objects])


def pdf_page(content: str, *, to_unicode: str = "", **entries: str) -> bytes:
    """A PDF of one page with this content stream, and more entries in the page's dictionary.

    `to_unicode` are the lines that map the font's codes to characters.
    """
    fields = re.findall(r"<< /Subtype /Widget.*?>>", entries.get("Annots", ""))
    more = " ".join(f"/{name} {value}" for name, value in entries.items())
    mapped = f"/CIDInit /ProcSet findresource begin begincmap {to_unicode} endcmap end"
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [{' '.join(fields)}] >> >>",
        "<< /Type /Pages /Kids [4 0 R] /Count 1 >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica"
        + (" /ToUnicode 6 0 R >>" if to_unicode else " >>"),
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 5 0 R {more}"
        " /Resources << /Font << /F1 3 0 R >> >> >>",
        f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        f"<< /Length {len(mapped)} >>\nstream\n{mapped}\nendstream",
        "<< >>",
    ]
    return _numbered([each.encode("latin-1") for each in objects])


def _numbered(objects: list[bytes]) -> bytes:
    """A PDF file of objects, with its cross-reference table: the root first, the info last."""
    out = bytearray(b"%PDF-1.4\n")
    addresses = []
    for number, each in enumerate(objects, 1):
        addresses.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % address for address in addresses)
    out += b"trailer << /Size %d /Root 1 0 R /Info %d 0 R >>\n" % (len(objects) + 1, len(objects))
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % start)


def pdf_bomb() -> bytes:
    """A PDF of a few kilobytes whose page decompresses, in two steps, to 1 GiB of spaces."""
    stream = zlib.compressobj(9)
    first, again = (
        stream.compress(b" " * (1 << 20)) + stream.flush(zlib.Z_FULL_FLUSH) for _ in range(2)
    )
    content = zlib.compress(first + again * 1023, 9)
    head = b"<< /Length %d /Filter [/FlateDecode /FlateDecode] >>" % len(content)
    return _numbered(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R >>",
            head + b"\nstream\n" + content + b"\nendstream",
            b"<< >>",
        ]
    )


def encrypted_pdf() -> bytes:
    """A PDF that needs a password."""
    writer = pypdf.PdfWriter(io.BytesIO(pdf(["secret"])))
    writer.encrypt("password", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def word(title: str = "") -> bytes:
    """A DOCX with headings, paragraphs and a table."""
    document = docx.Document()
    document.core_properties.title = title
    document.add_heading("The inn", 1)
    document.add_paragraph("The inn was founded by Mary Smith.")
    document.add_heading("Rooms", 2)
    table = document.add_table(rows=2, cols=2)
    for row, texts in zip(table.rows, [("Room", "Beds"), ("Blue", "3")], strict=True):
        for cell, text in zip(row.cells, texts, strict=True):
            cell.text = text
    document.add_paragraph("It burned down in 1887.")
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def notes(folder: Path) -> Path:
    """A folder with a few short documents."""
    folder.mkdir()
    (folder / "inn.md").write_text(
        "# The inn\n\nMary Smith founded the inn in 1850.\n\n## Rooms\n\nThe blue room is cold.\n"
    )
    (folder / "boats.txt").write_text("Boats leave the harbour at noon.\n\nThe ferry is red.\n")
    (folder / "more").mkdir()
    (folder / "more" / "cats.html").write_text(
        "<title>Cats</title><p>Seven cats live in the <b>old</b> mill.</p>"
    )
    return folder
