#!/bin/sh
# From the data folder to the default model's adapter and its q8_0 file: recipes/default/run.sh DATA
# Needs the environment of `pip install -e ".[train]"`. A run that was stopped is resumed.
set -eu
cd "$(dirname "$0")/../.."
data=${1:?"name the data folder, which holds train/ and eval/"}
run=build/run

[ -e build/recipe/cached.jsonl ] ||
    python recipes/default/prepare.py --data "$data" --output build/recipe
[ -e build/recipe/neighbours.jsonl ] ||
    python recipes/default/neighbours.py --rows build/recipe --teacher build/teacher
gritlite pull base
if [ -e $run/checkpoint.pt ]; then
    gritlite train recipes/default/recipe.toml -o $run --resume
else
    gritlite train recipes/default/recipe.toml -o $run
fi
gritlite convert base --adapter $run/adapter -o build/default.q8_0.gguf --type q8_0 --force
