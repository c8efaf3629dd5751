"""Print the KV cache and compute buffer llama.cpp reserves, in MiB: run by tests as a child.

Arguments: file, cells, tokens of a pass, outputs of a pass.
"""

import re
import sys

import llama_cpp


def main(path: str, cells: int, tokens: int, outputs: int) -> None:
    """Make a context with flash attention, and read what llama.cpp logs about it."""
    log: list[str] = []
    listener = llama_cpp.llama_log_callback(lambda level, text, data: log.append(text.decode()))  # noqa: ARG005
    llama_cpp.llama_log_set(listener, None)
    llama_cpp.llama_backend_init()
    model_params = llama_cpp.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(path.encode(), model_params)
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = cells, tokens, tokens
    params.n_outputs_max = outputs
    params.flash_attn_type = 1
    params.kv_unified = True
    assert llama_cpp.llama_init_from_model(model, params), log[-5:]
    found = re.findall(r"(KV|compute) buffer size = +([\d.]+)", "".join(log))
    print(*(sum(float(size) for kind, size in found if kind == k) for k in ("KV", "compute")))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
