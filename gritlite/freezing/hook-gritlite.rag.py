"""The packages of the extra `rag`, which are imported when a document is read."""

hiddenimports = [
    *("chardet", "docx", "filelock", "lxml.etree", "markdown_it", "pypdfium2", "selectolax.lexbor"),
    *("semantic_text_splitter", "usearch.index", "xxhash"),
]
