#!/usr/bin/env bash
# The whole benchmark in one command: set-up, corpora, folds, report.
#
#     ./run_downstream.sh                                   the demo, on an embedded corpus
#     ./run_downstream.sh configs/iemocap_hubert_large.yaml --iemocap DIR --voxceleb1 DIR
#         [--librispeech DIR] [--out DIR] [--dry-run] [--quick]
#
# Safe to stop (Ctrl-C) and start again: what is complete is not run twice.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
. "$here/scripts/setup.sh"
case " $* " in
    *" -h "* | *" --help "*)
        sed -n '2,8s/^# \{0,1\}//p' "$here/run_downstream.sh"
        exit 0
        ;;
esac
set_up
if [ "$#" -eq 0 ] || [[ "$1" == -* ]]; then
    set -- "$here/configs/demo.yaml" "$@"
fi
exec spknorm bench "$@"
