# shellcheck shell=bash disable=SC2034  # ALLOWED and max_size are for the scripts that source this
# The files that may leave a machine. Sourced by pull_artifacts.sh and commit_and_push.sh.

# Names below results/, in the globs that rsync and git share: * stops at a slash, ** does not.
ALLOWED=(
    'data/*/*.json' '*/best.yaml'
    'logs/*.log' 'logs/**/*.log' 'logs/**/*.tsv' 'logs/**/*.progress.json'
)
# An experiment, and the parts of a search.
for folder in '*' '*/round*' '*/confirmation'; do
    ALLOWED+=("$folder/"{'*.csv','*.json','*.md','figures/*.svg'})
    ALLOWED+=("$folder/*/seed*/"{config.json,run.json,train.csv,eval.{json,csv,npz},usage.{json,npz}})
done
max_size=5M
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "error: $*"
    exit 1
}

# A name, or what another program says, in a message: control characters never reach the terminal.
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

# Checks files or blobs as publishable.py describes: says what is wrong with them, prints the names.
not_publishable() {
    python3 -I "$scripts/publishable.py" "$(bytes "$max_size")" "$@"
}
