"""Memory by mode: of the GPU, or in a rehearsal of the process."""

from pathlib import Path

from checks.comparing import gpu_layers, loaded
from checks.models import letters, shaped_file
from checks.parts import Task
from gritlite.modelfile.header import read_header
from gritlite.modelfile.memory import embed_memory, generate_memory
from gritlite.runtime.llama.devices import gpus

_CONTEXT = 4096


def run(task: Task) -> None:
    """Load, embed, then chat as well; what each adds stands beside what inspect says of it."""
    for name in task.size.embed_tokens:
        path = shaped_file(task.folder, name)
        file = read_header(path)
        embed, chat = embed_memory(file), generate_memory(file, _CONTEXT)
        start = _used()
        with loaded(task, path, gpu_layers(task), context_length=_CONTEXT) as model:
            loaded_at = _used()
            model.encode([letters(480)])
            embedded_at = _used()
            model.generate(letters(256), max_tokens=2)
            task.results.measure(
                name,
                memory="of the GPU" if gpus() else "resident",
                weights=loaded_at - start,
                embed=embedded_at - loaded_at,
                chat=_used() - embedded_at,
                inspect={
                    "weights": embed.weights,
                    "embed": embed.kv_cache + embed.compute,
                    "chat": chat.kv_cache + chat.compute,
                },
            )


def _used() -> int:
    """Bytes of the first GPU that are taken, by whomever; else this process's resident ones."""
    found = gpus()
    if found:
        return found[0].memory_total - found[0].memory_free
    status = Path("/proc/self/status").read_text("ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024
