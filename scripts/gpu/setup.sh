# Sourced, from the root of the working tree, by scripts/gpu/check and scripts/gpu/train: installs
# the wheels that scripts/gpu/build made into a scratch folder and points Python at it. Afterwards
# $PYTHON has gritlite and llama-cpp-python for CUDA, beside its own torch and transformers.
# shellcheck shell=sh

PYTHON=${PYTHON:-python3}
GPU_CARRY=${GPU_CARRY:-$PWD/build/gpu/carry}
GPU_SITE=${GPU_SITE:-${TMPDIR:-/tmp}/gritlite-gpu/site}

if ! ls "$GPU_CARRY"/wheels/*.whl >/dev/null 2>&1; then
    echo "no wheels in $GPU_CARRY/wheels: run scripts/gpu/build, and let build/gpu/carry travel" >&2
    exit 2
fi
rm -rf "$GPU_SITE"
"$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir \
    --disable-pip-version-check --target "$GPU_SITE" "$GPU_CARRY"/wheels/*.whl || exit

# A stale wheel would show an older gritlite than the tree it is read beside.
if ! diff -rq --exclude __pycache__ gritlite "$GPU_SITE/gritlite" >&2; then
    echo "the carried wheel of gritlite is not this tree's: run scripts/gpu/build again" >&2
    exit 2
fi

# The wheel goes first, then the tree for scripts/ and tests/; no current folder before both.
export PYTHONSAFEPATH=1
export PYTHONPATH="$GPU_SITE:$PWD"
# CUDA's libraries come with torch's own wheels, or lie where a toolkit was installed.
for folder in "$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia/cu13/lib" \
    "$PWD/build/gpu/cublas/nvidia/cu13/lib" /usr/local/cuda/lib64; do
    if [ -d "$folder" ]; then
        LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder"
    fi
done
export LD_LIBRARY_PATH PYTHON GPU_CARRY GPU_SITE
