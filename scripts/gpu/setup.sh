# Sourced by scripts/gpu/check from the root of the working tree: installs the wheels that
# scripts/gpu/build gathered into a scratch folder, and points Python at it, at the working tree and
# at a cache of models. Afterwards $PYTHON runs gritlite on llama.cpp for CUDA,
# beside the torch and transformers that it has, and `base` and `default` are pulled if the halves
# of `base` have travelled.
# shellcheck shell=sh

PYTHON=${PYTHON:-python3}
GPU_SCRATCH=${GPU_SCRATCH:-${TMPDIR:-/tmp}/gritlite-gpu}
GPU_WHEELS=${GPU_WHEELS:-$PWD/build/gpu/wheels}
GPU_BASE=${GPU_BASE:-$PWD/build/gpu/base}

if ! ls "$GPU_WHEELS"/*.whl >/dev/null 2>&1; then
    echo "no wheels in $GPU_WHEELS: run scripts/gpu/build, and let that folder travel" >&2
    exit 2
fi
rm -rf "$GPU_SCRATCH/site"
"$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir \
    --disable-pip-version-check --target "$GPU_SCRATCH/site" "$GPU_WHEELS"/*.whl || exit

PYTHONPATH=$GPU_SCRATCH/site:$PWD:$PWD/scripts/gpu
GRITLITE_CACHE=$GPU_SCRATCH/cache
# CUDA's libraries come with torch's own wheels, or lie where a toolkit or this build put them.
purelib=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))') || exit
for folder in "$purelib/nvidia/cu13/lib" /usr/local/cuda/lib64 \
    "$PWD/build/gpu/cublas/nvidia/cu13/lib"; do
    if [ -d "$folder" ]; then
        LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
    fi
done
export PYTHON PYTHONPATH GRITLITE_CACHE LD_LIBRARY_PATH

# `base` travels in halves; `default` is made of it and of the adapter in the working tree
if [ -f "$GPU_BASE/1/half" ] && [ -f "$GPU_BASE/2/half" ]; then
    mkdir -p "$GRITLITE_CACHE/models"
    base=$GRITLITE_CACHE/models/$(cat "$GPU_BASE/1/name")
    cat "$GPU_BASE/1/half" "$GPU_BASE/2/half" >"$base"
    cp "$GPU_BASE/1/sha256" "$base.sha256"
    "$PYTHON" -m gritlite pull default >&2 || exit
fi
