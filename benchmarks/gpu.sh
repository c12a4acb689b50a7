#!/bin/bash
# What a graphics card computes, and how fast: tests, the line, then benchmarks, each beside plain PyTorch.
#
#   benchmarks/gpu.sh OUT [DEVICE [STEP...]]
#
# OUT gets NAME.log and NAME.json of each step, and table.txt, which is printed last. DEVICE is cuda, or cpu to
# try the script itself, on small cases. Run it from the project's folder, with plait and its dev extras
# importable by `python3`. A step that fails says so and the next goes on.
set -u
out=$1 device=${2:-cuda}
shift $(($# > 1 ? 2 : 1))
steps=${*:-tests line attention fusion compile graphs i3d lite0 resnet50 encoders profile study latency features}
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 2
scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PLAIT_CACHE=$scratch/cache PYTHONUNBUFFERED=1
quick=() few=() brief=() some=(--clips 216) tables=static,gloves,video,concat,glove-led,video-led,symmetric
if [ "$device" = cpu ]; then
    quick=(--quick) few=(--only static,video-led) brief=(-k '(method and mean or block or rmsprop) and not bfloat16') some=()
fi

line() { # train, fit and predict, here and on the CPU, and how far apart the scores are
    plait() { python3 -m plait "$@" >>"$scratch/said" 2>&1 || { tail -5 "$scratch/said"; return 1; }; }
    local short=(--set train.max_epochs=2 --workers 4) study=examples/generated.toml name
    for name in cpu "$device"; do
        local to=$scratch/line-$name
        [ -d "$to" ] && to=$to-again
        plait run $study --data . --out "$to/run" --only signal-led --only concat "${short[@]}" --device "$name" &&
            plait fit $study signal-led --data . --out "$to/model" "${short[@]}" --device "$name" &&
            plait predict "$to/model" --data . --only 6 --out "$to/here" --device "$device" &&
            plait predict "$to/model" --data . --only 6 --out "$to/cpu" --device cpu || return 1
    done
    python3 - "$scratch" "$out/line.json" <<'PY'
import json, sys
from pathlib import Path
import numpy as np, polars as pl

def apart(one, other, key):
    tables = [pl.read_parquet(file).sort(key) for file in (one, other)]
    a, b = (np.array(table["scores"].to_list()) for table in tables)
    assert len(a) == len(b) > 0
    return {"rows": len(a), "most": float(np.abs(a - b).max()), "labels": float((a.argmax(1) != b.argmax(1)).mean())}

folders = sorted(Path(sys.argv[1]).glob("line-*"), key=lambda folder: folder.name != "line-cpu")
runs = [folder / "run/predictions.parquet" for folder in folders]
key = ["method", "seed", "fold", "clip"]
found = {"a study trained on either": apart(*runs, key)}
for folder in folders:
    tables = [folder / where / "timeline.parquet" for where in ("here", "cpu")]
    found[f"a model of {folder.name}, predicting on either"] = apart(*tables, ["recording", "start_s"])
Path(sys.argv[2]).write_text(json.dumps(found, indent=2) + "\n")
for name, far in found.items():
    print(f"{name}: {far['rows']} rows, scores differ by at most {far['most']:.1e}, labels in {far['labels']:.2%}")
PY
}

bench() { # NAME of the step, file, options
    local name=$1 file=$2
    shift 2
    timeout 240 python3 "benchmarks/$file.py" --device "$device" --json "$out/$name.json" "${quick[@]}" "$@"
}

step() {
    case $1 in
    tests)
        PLAIT_TEST_DEVICE=$device timeout 240 python3 -m pytest -q -W ignore -p no:cacheprovider --tb=short \
            tests/test_cuda.py "${brief[@]:--k not compile}"
        ;;
    line) line ;;
    attention) bench attention attention ;;
    fusion) bench fusion fusion --rounds 7 ;;
    i3d) bench i3d i3d --engines torch ;;
    i3d-compile) bench i3d-compile i3d --engines torch compile ;;
    compile) bench compile step --ways eager,compile ;;
    graphs) bench graphs step --ways eager,graphs ;;
    lite0 | resnet50) bench "$1" i3d --network "$1" --engines torch ;;
    encoders) bench encoders encoders "${some[@]}" ;;
    profile) bench profile study --profile --clips 20 "${few[@]:---only=$tables}" ;;
    study) bench study study --workers 0 --clips 20 --epochs 3 "${few[@]:---only=$tables}" ;;
    latency) bench latency latency --threads 8 --rounds 7 ;;
    features) bench features features --seconds 12 --rounds 2 ;;
    *) echo "no step $1" && return 2 ;;
    esac
}

: >"$out/table.txt"
for name in $steps; do
    start=$SECONDS
    step "$name" >"$out/$name.log" 2>&1
    code=$?
    echo "== $name: $( ((code)) && echo "FAILED with $code" || echo well), $((SECONDS - start)) s" | tee -a "$out/table.txt"
    if [ "$name" = tests ]; then
        grep -E '^(FAILED|ERROR|E  )|passed|failed' "$out/$name.log" | cut -c1-160 | tail -25 >>"$out/table.txt"
    elif ((code)); then
        tail -6 "$out/$name.log" | cut -c1-300 >>"$out/table.txt"
    else
        cut -c1-230 "$out/$name.log" >>"$out/table.txt"
    fi
done
cat "$out/table.txt"
