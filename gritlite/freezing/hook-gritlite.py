"""What PyInstaller's search for imports does not find of gritlite, and what it finds too much.

Names are in tables where modules are imported only when needed, and children are started by
the name of their module. The command line and the server are collected where the app imports
them; extras beyond `rag` and `serve` only where it names them, with `--hidden-import
onnxruntime` for example, or imports them itself.
"""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata

_APART = ("__main__", "cli", "eval", "freezing", "gptq", "integrations", "serve", "train")

datas = collect_data_files("gritlite", includes=["runtime/data/*"])
datas += copy_metadata("gritlite")
hiddenimports = collect_submodules(
    "gritlite", filter=lambda name: name.split(".")[1:2] not in [[room] for room in _APART]
)
excludedimports = [
    *("torch", "transformers", "peft", "safetensors", "matplotlib", "gptqmodel"),  # train, gptq
    *("onnx", "onnxruntime", "openvino"),  # engines
    *("trafilatura", "huggingface_hub", "pyarrow"),  # web, hub, parquet
]
