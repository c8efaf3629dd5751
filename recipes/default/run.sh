#!/bin/sh
# From the data folder to the default model's adapter and its q8_0 file: recipes/default/run.sh DATA
# Needs the environment of `pip install -e ".[train]"`. A run that was stopped is resumed.
set -eu
cd "$(dirname "$0")/../.."
data=${1:?"name the data folder, which holds train/ and eval/"}

trained() {
    if [ -e "$2/checkpoint.pt" ]; then
        gritlite train "recipes/default/$1" -o "$2" --resume
    else
        gritlite train "recipes/default/$1" -o "$2"
    fi
}

# finds an adapter's projection without an earlier one; the second argument is its whitening
projected() {
    rm -f "$1/projection.npy"
    gritlite convert base --adapter "$1" -o "$1.plain.gguf" --type q8_0 --force
    python recipes/default/projection.py --rows build/recipe --model "$1.plain.gguf" \
        --adapter "$1" --whitening "$2"
}

# the mean of two adapters, and its projection, whose whitening is the last argument
averaged() {
    python recipes/default/average.py "$1" "$2" -o "$3"
    projected "$3" "$4"
}

[ -e build/recipe/quoted_cached.jsonl ] ||
    python recipes/default/prepare.py --data "$data" --output build/recipe
[ -e build/recipe/neighbours.jsonl ] ||
    python recipes/default/neighbours.py --rows build/recipe --teacher build/teacher
[ -e build/recipe/health_hard.jsonl ] ||
    python recipes/default/negatives.py --rows build/recipe --teacher build/mpnet
gritlite pull base
trained recipe.toml build/run
trained longer.toml build/longer  # which begins from build/run/adapter
trained further.toml build/further  # which begins from build/longer/adapter
averaged build/longer/adapter build/further/adapter build/mean 0.5
trained fourth.toml build/fourth  # which begins from build/mean, and its projection
averaged build/mean build/fourth/adapter build/later 0.5
trained fifth.toml build/fifth  # which begins from build/later, and its projection
projected build/fifth/adapter 0.5
trained sixth.toml build/sixth  # which begins from build/fifth/adapter, and its projection
averaged build/fifth/adapter build/sixth/adapter build/latest 0.65
[ -e build/recipe/answered.jsonl ] || {
    gritlite convert base --adapter build/latest -o build/latest.q8_0.gguf --type q8_0 --force
    python recipes/default/answers.py --rows build/recipe --model build/latest.q8_0.gguf --most 560
}
trained seventh.toml build/seventh  # which begins from build/latest, and its projection
averaged build/latest build/seventh/adapter build/default 0.65
gritlite convert base --adapter build/default -o build/default.q8_0.gguf --type q8_0 --force
