# The one place that makes the environment; sourced by run_downstream.sh and tests/run.sh:
#
#     . scripts/setup.sh
#     set_up [EXTRA]          # EXTRA of setup.cfg, such as test or test,lint
#
# It uses the active virtual environment, else makes .venv with a Python 3.11-3.13, installs this
# checkout into it, and leaves it active. Installed once, it costs nothing: a stamp holds the hash of
# what was installed. To set beforehand, if need be:
#
#     SPKNORM_PYTHON       the Python that .venv is made with
#     SPKNORM_VENV         another folder than .venv; the active environment is then left alone
#     SPKNORM_CONSTRAINTS  another file than constraints.txt, or none
#     SPKNORM_TORCH        a requirement such as torch==2.15.0, installed beforehand

set_up() {
    local extra="${1:-}" root constraints stamp wanted target=.
    root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
    if [ -n "${SPKNORM_VENV:-}" ] || [ -z "${VIRTUAL_ENV:-}" ]; then
        _spknorm_venv "$root" "${SPKNORM_VENV:-.venv}" || return 1
    fi
    constraints="${SPKNORM_CONSTRAINTS:-constraints.txt}"
    stamp="$VIRTUAL_ENV/.spknorm-${extra:-run}"
    wanted="$(_spknorm_hash "$root" "$constraints" "$extra ${SPKNORM_TORCH:-}")" || return 1
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return 0
    fi
    echo "Installing spknorm${extra:+[$extra]} into $VIRTUAL_ENV" \
        "(torch is large: the first time takes minutes)" >&2
    (
        cd "$root" || exit 1
        set -- --disable-pip-version-check --quiet
        if [ "$constraints" != none ]; then set -- "$@" -c "$constraints"; fi
        if [ -n "${SPKNORM_TORCH:-}" ]; then
            python -m pip install "$@" "$SPKNORM_TORCH" || exit 1
        fi
        if [ -n "$extra" ]; then target=".[$extra]"; fi
        python -m pip install "$@" -e "$target" || exit 1
        case ",$extra," in *,test,*)  # what they require is not needed for what is used of them
            python -m pip install "$@" --no-deps resemblyzer funasr \
                || echo "Without Resemblyzer and funasr tests of them are skipped." >&2 ;;
        esac
    ) || {
        echo "The installation failed; what pip said is above. The next call tries again." >&2
        return 1
    }
    echo "$wanted" > "$stamp"
    echo "Installed." >&2
}

# Make (unless it is whole) and activate a virtual environment.
_spknorm_venv() {
    local root="$1" folder="$2" python
    case "$folder" in /*) ;; *) folder="$root/$folder" ;; esac
    if ! "$folder/bin/python" -m pip --version > /dev/null 2>&1; then
        python="$(_spknorm_python)" || return 1
        echo "Making the environment $folder with $python" >&2
        "$python" -m venv --clear "$folder" || {
            echo "$python has no working venv module (on Debian: apt-get install python3-venv)." >&2
            return 1
        }
    fi
    # shellcheck disable=SC1091
    . "$folder/bin/activate"
}

_spknorm_python() {
    local candidate
    for candidate in ${SPKNORM_PYTHON:-python3.12 python3.11 python3.13 python3 python}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
            > /dev/null 2>&1; then
            command -v "$candidate"
            return 0
        fi
    done
    echo "No Python 3.11, 3.12 or 3.13 was found. Install one, or name it:" \
        "SPKNORM_PYTHON=/path/to/python" >&2
    return 1
}

_spknorm_hash() {
    (cd "$1" && python - "$1" "$2" "$3" <<'PYTHON'
import hashlib
import pathlib
import sys

digest = hashlib.sha256(repr([*sys.argv[1:], sys.version]).encode())
for name in ("setup.cfg", "pyproject.toml", sys.argv[2]):
    path = pathlib.Path(name)
    digest.update(path.read_bytes() if path.is_file() else b"")
print(digest.hexdigest())
PYTHON
    )
}
