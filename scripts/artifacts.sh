# shellcheck shell=bash disable=SC2034  # ALLOWED and max_size are for the scripts that source this
# The files that may leave a machine. Sourced by pull_artifacts.sh and commit_and_push.sh.

# Names below results/, in the globs that rsync and git share: * stops at a slash, ** does not.
ALLOWED=(
    '*/*.csv' '*/*.json' '*/*.md' '*/figures/*.svg'
    '*/*/seed*/config.json' '*/*/seed*/run.json' '*/*/seed*/train.csv'
    '*/*/seed*/eval.json' '*/*/seed*/eval.csv' '*/*/seed*/eval.npz'
    'data/*/*.json'
    'logs/*.log' 'logs/**/*.log' 'logs/**/*.tsv' 'logs/**/*.progress.json'
)
max_size=5M

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "error: $*"
    exit 1
}

# A file's name as messages show it: control characters never reach the terminal.
shown() { printf '%q' "$1"; }

# The comment at the top of a script is its --help.
show_help() { sed -n '2,/^$/s/^# \{0,1\}//p' "$1"; }

# SIZE such as 800K or 5M (powers of 1024, as rsync reads it), in bytes.
bytes() {
    [[ $1 =~ ^([0-9]{1,9})([KMG]?)$ ]] ||
        fail "--max-size $(shown "$1"): not a size such as 800K or 5M"
    local power=1
    case ${BASH_REMATCH[2]} in K) power=1024 ;; M) power=1048576 ;; G) power=1073741824 ;; esac
    echo $((10#${BASH_REMATCH[1]} * power))
}

# NAME FILE: prints why a file of that name and content must not leave; prints nothing if it may.
problem() {
    local size
    size=$(wc -c <"$2")
    case ${1,,} in
        *.safetensors | *.pt | *.pth | *.bin | *.ckpt | *.gguf | *.h5 | *.onnx | *.pkl | *.npy)
            echo "weights or tokens, by its name"
            ;;
        *.csv | *.tsv | *.json | *.md | *.svg | *.log)
            is_text "$2" "$size" || echo "not the text that its name promises"
            ;;
        *.npz) is_evaluation "$2" || echo "not the arrays of an evaluation" ;;
        *) ! is_model "$2" || echo "weights or tokens, by its content" ;;
    esac
    ((size <= $(bytes "$max_size"))) || echo "$size bytes, over the limit of $max_size"
}

# Text has no zero byte and is UTF-8; safetensors, pickles, archives and raw token ids are not.
is_text() {
    [[ $(tr -d '\000' <"$1" | wc -c) -eq $2 ]] && iconv -f UTF-8 -t UTF-8 <"$1" >/dev/null 2>&1
}

# eval.npz is a zip of arrays with names such as none/1024/nll; those of a model are called
# otherwise.
is_evaluation() {
    python3 - "$1" <<'PYTHON' 2>/dev/null
import re, sys, zipfile
array = re.compile(r"(bytes|[^/]+/[0-9]+/(nll|tokens|edges))\.npy")
sys.exit(not all(array.fullmatch(name) for name in zipfile.ZipFile(sys.argv[1]).namelist()))
PYTHON
}

# The first bytes of safetensors, numpy, pickle, HDF5 and GGUF; a zip counts if it holds a pickle or
# arrays.
is_model() {
    case $(head -c 16 <"$1" | od -An -v -tx1 | tr -d ' \n') in
        ????????000000007b* | 934e554d5059* | 800[2345]* | 894844460d0a* | 47475546*) ;;
        504b0304*) LC_ALL=C grep -qaE '\.pkl|\.npy' <"$1" ;;
        *) return 1 ;;
    esac
}
