#!/usr/bin/env bash
# Copy the results of a run on another machine into this checkout: tables, figures, manifests, logs.
#
#   scripts/pull_artifacts.sh [options] [USER@]HOST PATH
#
# PATH is the checkout on HOST, absolute or relative to the home directory there; its results/ is
# read and never written. Weights, checkpoints, token caches and exports are never copied, whatever
# their names. The list of what is copied is in scripts/artifacts.sh.
#
#   -n, --dry-run         show what would come; change nothing
#   -p, --port PORT       ssh port
#   -i, --identity FILE   private key
#   -F, --ssh-config FILE read this instead of ~/.ssh/config
#       --max-size SIZE   refuse larger files (default 5M)
#       --replace         let another run, or other data, of the same name replace what is here
#   -h, --help
#
# The host key must be known (ssh there once by hand). Keys and the agent come first; a password is
# used only if it is in the environment as A100_SSH_PASS. An interrupted copy resumes where it
# stopped. Status 1: an error, or files were refused. Needs rsync 3.2 or newer on both sides, and
# sshpass for a password.

set -euo pipefail
# shellcheck source=scripts/artifacts.sh
source "$(dirname "${BASH_SOURCE[0]}")/artifacts.sh"

dry_run='' replace='' refused=0
ssh=(ssh -a -x -o StrictHostKeyChecking=yes -o ConnectTimeout=20 -o ServerAliveInterval=15)

main() {
    local arguments=()
    while (($#)); do
        case $1 in
            -h | --help) show_help "${BASH_SOURCE[0]}" && exit ;;
            -n | --dry-run) dry_run=1 ;;
            --replace) replace=1 ;;
            -p | --port | -i | --identity | -F | --ssh-config | --max-size)
                (($# > 1)) || fail "$1: lacks its value; see --help"
                option "$1" "$2" && shift
                ;;
            -*) fail "$(shown "$1"): no such option; see --help" ;;
            *) arguments+=("$1") ;;
        esac
        shift
    done
    [[ ${#arguments[@]} == 2 && ${arguments[1]} ]] ||
        fail "give the host and the path of the checkout there; see --help"
    host=${arguments[0]}
    path=${arguments[1]%/}
    local user='[A-Za-z0-9_][A-Za-z0-9_.-]*'
    local name='[A-Za-z0-9][A-Za-z0-9_.-]*'
    local ip='\[[0-9A-Fa-f:.]+\]'
    [[ $host =~ ^($user@)?($name|$ip)$ ]] ||
        fail "$(shown "$host"): not a host, with or without USER@"
    [[ ${arguments[1]} == /* ]] || path=./${path#\~/}
    bytes "$max_size" >/dev/null

    here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
    # One folder for each source, so that an interrupted copy is found again.
    staging=$here/results/.incoming/$(printf '%s' "${ssh[*]} $host $path" | cksum | cut -d ' ' -f 1)
    scratch=$(mktemp -d)
    trap 'rm -rf -- "$scratch"' EXIT
    command -v rsync >/dev/null || fail "rsync is not installed here"
    connect
    fetch
    [[ $dry_run ]] || take_over
    ((refused == 0)) || fail "$refused files were refused (named above); the others are here"
}

option() {
    case $1 in
        -p | --port)
            [[ $2 =~ ^[0-9]{1,5}$ ]] || fail "--port $(shown "$2"): not a number"
            ssh+=(-p "$2")
            ;;
        -i | --identity)
            [[ -f $2 ]] || fail "--identity $(shown "$2"): no such file"
            ssh+=(-i "$2")
            ;;
        -F | --ssh-config)
            [[ -f $2 ]] || fail "--ssh-config $(shown "$2"): no such file"
            ssh+=(-F "$2")
            ;;
        --max-size) max_size=$2 ;;
    esac
}

# Find out how to log in, and whether the results are there, before anything is copied.
connect() {
    local password=${A100_SSH_PASS-} status=0
    unset A100_SSH_PASS
    probe "${ssh[@]}" -o BatchMode=yes || status=$?
    if ((status == 255)) && [[ $password && $message == *"Permission denied"* ]]; then
        command -v sshpass >/dev/null ||
            fail "A100_SSH_PASS is set, but sshpass is not installed here"
        export SSHPASS=$password
        ssh=(sshpass -e "${ssh[@]}" -o PubkeyAuthentication=no -o NumberOfPasswordPrompts=1)
        status=0
        probe "${ssh[@]}" || status=$?
    else
        ssh+=(-o BatchMode=yes)
    fi
    case $status:$message in
        0:*) ;;
        *"Host key verification failed"*)
            fail "$host: its host key is not the known one; compare it and log in once by hand"
            ;;
        5:* | *"Permission denied"*)
            fail "$host: login refused;" \
                "load a key into the agent, give --identity or set A100_SSH_PASS"
            ;;
        1:*) fail "$host: has no folder $(shown "$path/results")" ;;
        *) fail "$host: ssh failed: $(shown "$(tail -n 1 <<<"$message" | tr -d '\r')")" ;;
    esac
}

probe() {
    local folder="'${path//\'/\'\\\'\'}/results'"
    message=$("$@" -- "${host//[\[\]]/}" "test -d $folder" 2>&1 >/dev/null </dev/null)
}

# Copy into a folder next to the results, so that nothing is seen before it was checked. Links are
# not followed and not copied.
fetch() {
    local filters=(--exclude='.*' --include='*/') pattern status=0
    for pattern in "${ALLOWED[@]}"; do filters+=(--include="/$pattern"); done
    [[ $dry_run ]] || mkdir -p -- "$staging"
    rsync --recursive --times --protect-args --prune-empty-dirs --max-size="$max_size" \
        --partial-dir=.partial --timeout=120 --info=name1,skip1,nonreg1 ${dry_run:+--dry-run} \
        --chmod=D755,F644 --compare-dest="$here/results/" --rsh="$(quoted "${ssh[@]}")" \
        "${filters[@]}" --exclude='*' \
        -- "$host:$path/results/" "$staging/" >"$scratch/listing" || status=$?
    cat "$scratch/listing"
    ((status == 0)) ||
        fail "$host: the copy ended early (rsync status $status); the same command resumes it"
    refused=$(grep -c ' is over max-size$' "$scratch/listing" || true)
}

# A command as rsync reads it: words in single quotes, a quote inside doubled.
quoted() { printf " '%s'" "${@//\'/\'\'}"; }

# Put what arrived in its place, if it is what it seems to be and replaces no other run.
take_over() {
    cd -- "$staging"
    local conflicts=0 name difference arrived=0 new_tables=''
    staged | not_publishable files >"$scratch/refused" ||
        fail "the check of the files did not end (it says why above)"
    while IFS= read -r -d '' name; do
        rm -f -- "./$name"
        refused=$((refused + 1))
    done <"$scratch/refused"
    while IFS= read -r -d '' name; do
        difference=$(difference "$name")
        [[ $difference && ! $replace ]] || continue
        say "differs: results/$(shown "$name"): $difference"
        conflicts=$((conflicts + 1))
    done < <(staged)
    if ((conflicts)); then
        clear_staging
        fail "$host has other runs, evaluations or data under names that are taken here;" \
            "nothing was replaced (--replace does)"
    fi
    while IFS= read -r -d '' name; do
        cmp -s -- "./$name" "$here/results/$name" && continue
        [[ ! -d $here/results/$name ]] ||
            fail "results/$(shown "$name"): a folder is in its place; move it away"
        mkdir -p -- "$here/results/${name%/*}"
        mv -f -- "./$name" "$here/results/$name"
        arrived=$((arrived + 1))
        [[ $name != */summary.csv ]] || new_tables=1
    done < <(staged)
    cd -- "$here/results"
    clear_staging
    ((arrived == 0)) || settle
    say "$arrived new or changed files from $host are in $here/results"
}

clear_staging() {
    rm -rf -- "$staging"
    rmdir -- "${staging%/*}" 2>/dev/null || true
}

# The files that have arrived whole; halves of files are in hidden folders.
staged() { find . -name '.?*' -prune -o -type f -printf '%P\0'; }

# NAME: what it means that this file is not as that of the same name here; nothing where it is as
# there, or where nothing depends on it.
difference() {
    [[ -e $here/results/$1 ]] && ! cmp -s -- "./$1" "$here/results/$1" || return 0
    case $1 in
        data/*/options.config.json) ;;
        data/*/*.json) echo "other data" ;;
        */seed*/config.json | */seed*/run.json) echo "another run" ;;
        */evaluation.json)
            echo "the runs there were evaluated with other settings, and one table cannot hold both"
            ;;
    esac
}

# Of files from elsewhere Snakemake knows only their times. The inputs of a run must not look newer
# than the run, or it would be trained again; a table that lacks runs that are here must look older,
# so that it is made again.
settle() {
    local oldest='' name
    for name in */*/seed*/run.json; do
        [[ -e $name ]] || continue
        [[ $oldest && ! $name -ot $oldest ]] || oldest=$name
    done
    [[ $oldest ]] || return 0
    for name in data/*/*.json */{experiment,options,evaluation}.json */*/seed*/config.json; do
        [[ ! $name -nt $oldest ]] || touch -r "$oldest" -- "$name"
    done
    for name in */runs.csv; do
        [[ ! -e $name ]] || covers_runs "$name" || touch -r "$oldest" -- "$name"
    done
    [[ ! $new_tables || ! -e summary.csv ]] || touch -r "$oldest" -- summary.csv
}

# True if runs.csv names all runs of its experiment that are here; repeats have a table of their
# own.
covers_runs() {
    local run spectrum
    for run in "${1%/*}"/*/seed*/eval.csv; do
        [[ -e $run && $run != *-repeat*/eval.csv ]] || continue
        run=${run%/eval.csv}
        spectrum=${run%/*}
        grep -qF -- ",${spectrum##*/},${run##*/seed}," "$1" || return 1
    done
}

main "$@"
