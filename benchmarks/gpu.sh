#!/usr/bin/env bash
# All that is measured on a GPU, in under eight minutes:
#
#     bash benchmarks/gpu.sh <folder with tiktok/ and baby-lattice/> [python]
#
# The tests marked gpu; training steps as they come and captured, and epochs, on two datasets; the
# largest graph of scaling.py. Each part has its own limit of time, and one that fails does not keep
# the next one from being run. Tables go to the terminal; status 1 where a part failed.
set -uo pipefail
cd "$(dirname "$0")/.."
data=${1:?folder with tiktok/ and baby-lattice/}
python=${2:-python}
failed=0
part() { # SECONDS NAME COMMAND...
    local limit=$1 name=$2; shift 2
    echo "== $name"
    timeout "$limit" "$@" || { echo "== $name: failed with status $?"; failed=1; }
}
"$python" -c "import torch; assert torch.cuda.is_available(), 'no GPU is visible'" || exit 1
part 120 "tests on the GPU" "$python" -m pytest -q -m gpu -n 0 tests
for dataset in tiktok baby-lattice; do
    part 110 "steps and epochs, $dataset" "$python" benchmarks/captured_step.py \
        --data "$data" --dataset "$dataset" --pairs 20
done
part 130 "ten million interactions" "$python" benchmarks/scaling.py --sizes 1e7 --models SSR
exit "$failed"
