"""The metadata of a file that other programs shall embed with, and how to take it back.

llama.cpp reads two keys: with `attention.causal` false every token attends to every other, and
`pooling_type` chooses its own pooling. Its mean counts the tokens of the prompt and BOS, which
GritLM leaves out, so `grit.embed.include_prompt` tells gritlite to count them too: all programs
then compute the same vectors from this file. A projection, which llama.cpp does not know, is left
out. What llama.cpp generates from the file is nonsense.
"""

from collections.abc import Collection, Mapping

from gritlite.convert.source import ModelSource
from gritlite.modelfile.header_writer import MetadataValue
from gritlite.modelfile.hyperparameters import CAUSAL
from gritlite.prompt import INCLUDE_PROMPT_KEY, PROJECTION_KEY

POOLING_TYPE = "pooling_type"  # behind the architecture's name
ADD_EOS = "tokenizer.ggml.add_eos_token"
LEFT_OUT = (PROJECTION_KEY,)
_MEAN, _LAST = 1, 3  # LLAMA_POOLING_TYPE_MEAN, _LAST


def embedding_keys(source: ModelSource, attention: str) -> Mapping[str, MetadataValue]:
    """Return the keys to add to the metadata of a source that embeds with this attention."""
    architecture = source.spec.arch
    is_causal = attention == "causal"
    if source.embed_format.pooling == "last":
        return {
            f"{architecture}.{CAUSAL}": is_causal,
            f"{architecture}.{POOLING_TYPE}": _LAST,
        }
    return {
        f"{architecture}.{CAUSAL}": is_causal,
        f"{architecture}.{POOLING_TYPE}": _MEAN,
        ADD_EOS: False,  # gritlite embeds without an end token
        INCLUDE_PROMPT_KEY: True,
    }


def keys_to_take_back(source: ModelSource) -> Collection[str]:
    """Return the keys that make a source one for embedding only; none if it is not."""
    form = source.embed_format
    return embedding_keys(source, form.attention) if form.include_prompt else ()
