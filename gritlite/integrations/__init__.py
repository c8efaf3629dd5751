"""gritlite inside other people's programs, in process: LangChain, LlamaIndex and chromadb.

`gritlite.integrations.langchain`, `.llama_index` and `.chromadb` need the extra of their name
and raise MissingExtraError without it. Each holds the classes that its program expects, and
knows nothing of the others.
"""
