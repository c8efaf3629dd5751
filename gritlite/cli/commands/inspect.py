"""`gritlite inspect`: what a model file contains."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from gritlite.cli.shared.options import complete_model
from gritlite.cli.shared.tables import MEMORY_NOTE, aligned, size

if TYPE_CHECKING:
    from gritlite.cli.shared.verdicts import EngineFacts
    from gritlite.modelfile.description import ModelDescription, TokenizerDescription
    from gritlite.modelfile.header import GGUFFile
    from gritlite.modelfile.memory import MemoryNeed
    from gritlite.runtime.model_probe import ModelVerdict


@click.command()
@click.argument("file", shell_complete=complete_model)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, sizes in bytes.")
@click.option("--check", is_flag=True, help="Read every weight, and fail if one is not finite.")
def command(file: str, as_json: bool, check: bool) -> None:
    """Show what a GGUF model contains and how much memory it needs.

    FILE is a path, or the name of a pulled model. For a model whose parts do not fit
    together, the output ends with an error. Where engines have been compared on this machine,
    it shows which one embeds, and how the others did.
    """
    from gritlite.cli.shared.verdicts import engine_facts, engine_rows
    from gritlite.modelfile.check import check_model
    from gritlite.modelfile.description import describe
    from gritlite.modelfile.header import read_header
    from gritlite.modelfile.unchecked import unchecked_parts
    from gritlite.runtime.model_probe import check_verdict, known_verdict
    from gritlite.system.locate import locate

    header = read_header(locate(file))
    facts = describe(header)
    unchecked = unchecked_parts(header)
    verdict = known_verdict(header) if unchecked else None
    engines = engine_facts(header)
    if as_json:
        click.echo(_as_json(facts, unchecked, verdict, engines))
    else:
        rows = [*_rows(facts), *_trial_rows(unchecked, verdict), *engine_rows(engines)]
        click.echo(aligned(rows))
    check_model(header)
    if verdict is not None:
        check_verdict(header, verdict)
    if check:
        _check_weights(header)


def _check_weights(header: "GGUFFile") -> None:
    """Raise FormatError if a weight is NaN or infinite."""
    from gritlite.cli.shared.progress import advance_to, progress_bar
    from gritlite.errors import FormatError
    from gritlite.quant.finite import count_not_finite

    with progress_bar("checking", unit="B") as bar:
        found = count_not_finite(header, lambda done, total: advance_to(bar, done, total))
    if found:
        tensors = ", ".join(f"{name} ({count:,})" for name, count in found.items())
        raise FormatError(
            f"{header.path} has weights that are NaN or infinite in {tensors}: download or "
            "convert the model again"
        )
    click.echo("every weight is finite", err=True)


def _as_json(
    facts: "ModelDescription",
    unchecked: Sequence[str],
    verdict: "ModelVerdict | None",
    engines: "Sequence[EngineFacts]",
) -> str:
    from dataclasses import asdict

    trial = None if verdict is None else asdict(verdict)
    told = asdict(facts)
    if facts.grit is not None:
        told["grit"]["projection"] = facts.grit.projection is not None  # and not its numbers
    content = {
        **told,
        "unchecked": unchecked,
        "trial": trial,
        "engines": [asdict(each) for each in engines],
    }
    return json.dumps(content, indent=2, default=str)


def _trial_rows(unchecked: Sequence[str], verdict: "ModelVerdict | None") -> list[tuple[str, str]]:
    if not unchecked:
        return []
    tried = "" if verdict is None else f"tried: {verdict}"
    return [
        ("not checked", ", ".join(unchecked)),
        ("", tried or "tried in a child process when the model is first loaded"),
    ]


def _rows(facts: "ModelDescription") -> list[tuple[str, str]]:
    rows = [
        ("file", f"{facts.path} ({size(facts.file_bytes)})"),
        ("name", facts.name or "not given"),
        ("architecture", facts.architecture),
        ("parameters", f"{facts.parameters:,}"),
        ("layers", f"{facts.layers} of {facts.dimensions} dimensions"),
        ("context length", _context(facts)),
        ("file type", facts.file_type or "not given"),
        ("bits per weight", f"{facts.bits_per_weight:.2f}"),
        *_tensor_rows(facts),
        *_tokenizer_rows(facts.tokenizer),
        *_grit_rows(facts),
        *([("tasks", "embedding only")] if facts.embeds_only else []),
        ("trained to embed", "yes" if facts.trained_to_embed else "not known"),
        *([] if facts.generates else [("generates", "no: without an output matrix")]),
        (f"embed, {facts.pass_tokens:,} tokens a pass", _need(facts.memory_embed)),
    ]
    if facts.generates and not facts.embeds_only:
        rows += [
            (f"generate, {length:,} tokens", _need(need))
            for length, need in facts.memory_generate.items()
        ]
    return [*rows, MEMORY_NOTE]


def _context(facts: "ModelDescription") -> str:
    if facts.sliding_window is None:
        return f"{facts.context_length:,} tokens"
    window = f"{facts.sliding_window:,}"
    return f"{facts.context_length:,} tokens, usable up to the attention window of {window}"


def _tensor_rows(facts: "ModelDescription") -> list[tuple[str, str]]:
    shares = facts.tensor_types
    return [
        (
            "tensors" if share is shares[0] else "",
            f"{share.tensors:>4} of {share.type:<7} {size(share.bytes):>10}",
        )
        for share in shares
    ]


def _tokenizer_rows(tokenizer: "TokenizerDescription") -> list[tuple[str, str]]:
    kind = tokenizer.model or "not given"
    if tokenizer.pre:
        kind += f", pre-tokenizer {tokenizer.pre}"
    special = [f"{role} {number} {text!r}" for role, (number, text) in tokenizer.special.items()]
    return [
        ("tokenizer", kind),
        ("vocabulary", f"{tokenizer.vocabulary:,} tokens"),
        ("special tokens", ", ".join(special) or "none"),
        ("chat template", "yes" if tokenizer.chat_template else "none"),
    ]


def _grit_rows(facts: "ModelDescription") -> list[tuple[str, str]]:
    grit = facts.grit
    if grit is None:
        return [("GRIT metadata", "none: prompts default to GritLM's")]
    normalized = "unit length" if grit.normalize else "not normalized"
    pooled = " with the prompt" if grit.include_prompt else ""
    projected = "" if grit.projection is None else ", a projection"
    return [
        (
            "GRIT metadata",
            f"{grit.pooling} pooling{pooled}, {grit.attention} attention{projected}, {normalized}",
        ),
        *(
            [("vectors cut to", ", ".join(map(str, sorted(grit.sizes))) + " dimensions")]
            if grit.sizes
            else []
        ),
        ("document prompt", repr(grit.prompt)),
        ("instruction prompt", repr(grit.instruction_prompt)),
    ]


def _need(need: "MemoryNeed") -> str:
    return (
        f"{size(need.total)} (weights {size(need.weights)}, "
        f"KV cache {size(need.kv_cache)}, buffers {size(need.compute + need.outputs)})"
    )
