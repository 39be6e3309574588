#!/usr/bin/env bash
# A quarter of an hour of a rented GPU: verify and measure everything, make the paper's data, train as far as the clock
# allows. On a bare machine: Python 3.11 or newer, torch with CUDA, CuPy, numba, numpy; a C++ compiler where there is one.
#
#   benchmarks/gpu_quarter_hour.sh [--rehearse] [--seconds N] [--limit STEP=N] [--steps N] [STEP ...]
#
# Steps, in this order, each with its limit in seconds (fresh machines compile and load for tens of seconds):
#   what     20  the GPU, the driver, versions, missing packages
#   verify   90  the annealer: energies against the CPU's, kernels against the CPU's, every kind of lattice
#   speed    45  spin updates a second at 64, 128 and 256, and the share of the memory bandwidth
#   step     90  the training step as a CUDA graph: losses against uncaptured and CPU, ms in three precisions
#   data    120  the paper preset's 39 300 states, histogram of their energies
#   train  rest  sweeps of gamma and beta on the paper's lattice, as far as the clock allows
# A step that fails or is cut does not stop the next. After each, and while training, everything so far is packed into
# the folder $OUT (build/gpu): at most 8 files of at most 16 MB, with the page GPU.md. gpu_report.py publishes them.
#
# --seconds N     of the whole call, 900; what training gets is what is left
# --limit STEP=N  another limit for one step
# --steps N       of every training stage, instead of as many as fit
# STEP ...        these alone. On one machine a later call goes on from what is in $EVAE_GPU_WORK (build/gpu-work):
#                 gpu_quarter_hour.sh --seconds 560, then gpu_quarter_hour.sh --seconds 300 train
# --rehearse      on a CPU with a stand-in for the kernels, tiny sizes: that all runs; every file is marked
# PYTHON          the interpreter, python3
#
# Exit status: 0; 1 where a step failed, was cut or not run; 2 for a wrong option; 77 where there is no GPU.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
begun=$SECONDS
total=900
pack=15
python=${PYTHON:-python3}
declare -A limit=([what]=20 [verify]=90 [speed]=45 [step]=90 [data]=120 [train]=100000)
all=(what verify speed step data train)
chosen=()
training=()
export EVAE_REHEARSAL=0 PYTHONUNBUFFERED=1 PYTHONPATH=$here/..${PYTHONPATH:+:$PYTHONPATH}

wrong() { echo "gpu_quarter_hour.sh: $1; see its first lines" >&2; exit 2; }
number() { [[ ${2-} =~ ^[0-9]+$ ]] || wrong "$1 must be a whole number, got '${2-}'"; }

while (($#)); do
    case $1 in
        --rehearse) EVAE_REHEARSAL=1 ;;
        --seconds) number "$1" "${2-}"; total=$2; shift ;;
        --steps) number "$1" "${2-}"; training=(--steps "$2"); shift ;;
        --limit)
            [[ ${2-} == *=* && -n ${limit[${2%%=*}]-} ]] || wrong "--limit must be STEP=SECONDS, got '${2-}'"
            number "$1" "${2#*=}"; limit[${2%%=*}]=${2#*=}; shift ;;
        *) [[ -n ${limit[$1]-} ]] || wrong "no step is called '$1'"; chosen+=("$1") ;;
    esac
    shift
done
((${#chosen[@]})) || chosen=("${all[@]}")
mark=; ((EVAE_REHEARSAL)) && mark=-rehearsal
export EVAE_GPU_WORK=${EVAE_GPU_WORK:-$here/../build/gpu-work$mark} OUT=${OUT:-$here/../build/gpu$mark}
mkdir -p "$EVAE_GPU_WORK" "$OUT"
log=$EVAE_GPU_WORK/steps.csv
[[ -s $log ]] || echo "step,limit (s),seconds,ended" > "$log"

command_of() {
    case $1 in
        what) echo gpu_what.py ;;
        verify|speed) echo "gpu_annealer.py $1" ;;
        step) echo gpu_step.py ;;
        data) echo "gpu_train.py data" ;;
        train) echo "gpu_train.py train ${training[*]-}" ;;
    esac
}

status=0
for step in "${all[@]}"; do
    [[ " ${chosen[*]} " == *" $step "* ]] || continue
    seconds=$((total - pack - (SECONDS - begun)))
    ((seconds > limit[$step])) && seconds=${limit[$step]}
    if ((seconds < 1)); then
        echo "=== $step: not run, no time left"
        echo "$step,${limit[$step]},0,not run: no time left" >> "$log"
        status=1
        continue
    fi
    echo "=== $step: at most $seconds s, $((SECONDS - begun)) of $total s gone"
    start=$SECONDS
    # shellcheck disable=SC2046
    EVAE_STEP_END=$(($(date +%s) + seconds)) timeout --kill-after=5 "$seconds" "$python" "$here"/$(command_of "$step")
    code=$?
    case $code in
        0) ended="well" ;;
        77) ended="no GPU" ;;
        124|137) ended="cut after $seconds s" ;;
        *) ended="failed: exit status $code" ;;
    esac
    echo "=== $step: $ended, $((SECONDS - start)) s"
    echo "$step,$seconds,$((SECONDS - start)),$ended" >> "$log"
    ((code)) && status=1
    [[ $step == what && $code == 77 ]] && exit 77
    timeout --kill-after=5 "$pack" "$python" "$here/gpu_pack.py" > "$EVAE_GPU_WORK/packed" || { echo "=== packing failed"; status=1; }
done
[[ -f $EVAE_GPU_WORK/packed ]] && cat "$EVAE_GPU_WORK/packed"
echo "=== $((SECONDS - begun)) of $total s"
exit $status
