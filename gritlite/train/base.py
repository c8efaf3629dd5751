"""How the base of a training embeds. The trainer computes GritLM's form, and refuses others.

An adapter that was trained in one form and merged into a base of another would give wrong vectors
without a word. The attention is not the base's: the adapter says what it was trained with.
"""

from dataclasses import replace
from pathlib import Path

from gritlite.convert.source_loader import open_model_source
from gritlite.errors import FormatError
from gritlite.prompt import EmbedFormat


def read_form(base: Path) -> EmbedFormat:
    """Read how a base wants texts embedded.

    Raises FormatError if that is not the mean over the text's own tokens after GritLM's prompts,
    and what opening the base raises.
    """
    with open_model_source(base) as source:
        form = source.embed_format
    plain = EmbedFormat()
    if form.pooling != plain.pooling:
        raise FormatError(
            f"{base} embeds by its last token, and training is for GritLM's mean over the text's "
            "own tokens: name the model that it was made from as the base"
        )
    if form != replace(
        form,
        prompt=plain.prompt,
        instruction_prompt=plain.instruction_prompt,
        include_prompt=plain.include_prompt,
    ):
        raise FormatError(
            f"{base} embeds with other prompts than GritLM's, or counts their tokens: name the "
            "model that it was made from as the base"
        )
    return form
