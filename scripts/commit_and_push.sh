#!/usr/bin/env bash
# Commit the results of this checkout and push them to its remote: tables, figures, manifests, logs.
#
#   scripts/commit_and_push.sh [options] "message"
#
# Stages result files by name (the list is in scripts/artifacts.sh). Refuses, whoever staged them:
# weights, checkpoints, token caches, files over the limit, links, secrets, and anything that is not
# a result. Checks commits that are not pushed yet too. It never forces and never merges. Deleted
# results stay in git until you `git rm` them.
#
#   -n, --dry-run         show what would be committed; change nothing
#       --max-size SIZE   refuse larger files (default 5M)
#   -h, --help
#
# Nothing changed: says so, status 0. Status 1: an error, or something was refused; then nothing was
# committed or pushed.

set -euo pipefail
# shellcheck source=scripts/artifacts.sh
source "$(dirname "${BASH_SOURCE[0]}")/artifacts.sh"

# The store of finished results and what is being pulled; in git, unlike in a shell, * takes a dot.
HIDDEN=':(top,glob)results/.*/**'
dry_run=''

main() {
    local arguments=()
    while (($#)); do
        case $1 in
            -h | --help) show_help "${BASH_SOURCE[0]}" && exit ;;
            -n | --dry-run) dry_run=1 ;;
            --max-size)
                (($# > 1)) || fail "$1: lacks its value; see --help"
                max_size=$2
                shift
                ;;
            --)
                shift
                arguments+=("$@")
                break
                ;;
            -*) fail "$(shown "$1"): no such option; see --help" ;;
            *) arguments+=("$1") ;;
        esac
        shift
    done
    ((${#arguments[@]} == 1)) || fail "give one message, in quotes; see --help"
    [[ ${arguments[0]} == *[![:space:]]* ]] || fail "the message is empty"
    bytes "$max_size" >/dev/null

    cd -- "$(dirname "${BASH_SOURCE[0]}")/.."
    scratch=$(mktemp -d)
    trap 'rm -rf -- "$scratch"' EXIT
    check_repository
    check_unpushed
    check_staged
    stage
    publish "${arguments[0]}"
}

check_repository() {
    [[ $(git rev-parse --show-toplevel 2>/dev/null) == "$(pwd -P)" ]] ||
        fail "$(pwd -P): not a git repository of its own"
    local state
    for state in MERGE_HEAD CHERRY_PICK_HEAD REVERT_HEAD rebase-merge rebase-apply; do
        [[ ! -e $(git rev-parse --git-path "$state") ]] ||
            fail "a merge, rebase, cherry-pick or revert is under way; finish it first"
    done
    branch=$(git symbolic-ref --quiet --short HEAD) ||
        fail "HEAD is detached: not on a branch; git switch to one first"
    remote=$(git config "branch.$branch.remote" || echo origin)
    git remote get-url -- "$remote" >/dev/null 2>&1 ||
        fail "no remote $(shown "$remote"); add one: git remote add $remote URL"
    git fetch --quiet -- "$remote" || fail "cannot fetch from $remote (git says why above)"
    target=$(git config "branch.$branch.merge" || echo "refs/heads/$branch")
    local upstream=refs/remotes/$remote/${target#refs/heads/}
    ! git rev-parse --quiet --verify "$upstream" >/dev/null ||
        git merge-base --is-ancestor "$upstream" HEAD 2>/dev/null ||
        fail "$remote/${target#refs/heads/} has commits that are not here;" \
            "git pull --rebase, then again"
}

# The commits that the push would send along.
check_unpushed() {
    head=$(git rev-parse --quiet --verify HEAD || true)
    : >"$scratch/commits"
    [[ ! $head ]] || git rev-list "$head" --not --remotes="$remote" >"$scratch/commits"
    unpushed=$(wc -l <"$scratch/commits")
    git diff-tree --stdin -r -z --root -m --no-renames --no-commit-id --diff-filter=d \
        <"$scratch/commits" >"$scratch/raw"
    check_contents "in a commit that is not pushed yet" ||
        fail "take it out of these commits first (git rebase --interactive)"
}

# Already staged files must be results, and such as may go.
check_staged() {
    local exclude=() pattern name foreign=0
    for pattern in summary.csv summary.md "${ALLOWED[@]}"; do
        exclude+=(":(exclude,top,glob)results/$pattern")
    done
    git diff --cached --name-only --no-renames -z -- . "${exclude[@]}" >"$scratch/names"
    git diff --cached --name-only --no-renames -z -- "$HIDDEN" >>"$scratch/names"
    while IFS= read -r -d '' name; do
        say "refused: $(shown "$name"): staged, but not one of the results"
        foreign=1
    done <"$scratch/names"
    ((foreign == 0)) ||
        fail "commit these by themselves or unstage them (git restore --staged -- FILE)"
    check_index || fail "unstage it (git restore --staged -- FILE)"
}

check_index() {
    git diff --cached --raw -z --no-renames --no-abbrev --diff-filter=d >"$scratch/raw"
    check_contents "staged"
}

# Reads the records of `git diff --raw -z` in $scratch/raw, names what must not go, and fails if
# there is any. $1: where the files are.
check_contents() {
    not_publishable blobs "$1" <"$scratch/raw" >"$scratch/refused" ||
        fail "the check of the files did not end (it says why above)"
    [[ ! -s $scratch/refused ]]
}

# Stage the results that are new or changed, by name; if any of them must not go, leave the index as
# it was.
stage() {
    local include=() pattern name
    for pattern in summary.csv summary.md "${ALLOWED[@]}"; do
        include+=(":(top,glob)results/$pattern")
    done
    include+=("${HIDDEN/top/exclude,top}")
    git ls-files -z --others --modified -- "${include[@]}" | while IFS= read -r -d '' name; do
        if [[ -L $name ]]; then
            say "skipped: $(shown "$name"): a link"
        elif [[ -f $name ]]; then
            printf '%s\0' "$name"
        fi
    done >"$scratch/names"
    cp -- "$(git rev-parse --git-path index)" "$scratch/index" 2>/dev/null || true
    [[ ! $dry_run ]] || export GIT_INDEX_FILE=$scratch/index
    [[ ! -s $scratch/names ]] ||
        GIT_LITERAL_PATHSPECS=1 git add --force \
            --pathspec-from-file="$scratch/names" --pathspec-file-nul
    check_index && return
    [[ $dry_run || ! -s $scratch/names ]] ||
        GIT_LITERAL_PATHSPECS=1 git reset --quiet \
            --pathspec-from-file="$scratch/names" --pathspec-file-nul
    fail "nothing was committed"
}

publish() {
    local count
    count=$(git diff --cached --name-only --no-renames -z | tr -dc '\0' | wc -c)
    if ((count == 0 && unpushed == 0)); then
        say "nothing to publish: no result has changed since the last commit, and that is pushed"
        return
    fi
    if [[ $dry_run ]]; then
        git diff --cached --name-status --no-renames
        say "would commit $count files and push $((unpushed + (count > 0))) commits to $remote"
        return
    fi
    ((count == 0)) || commit "$1"
    # This commit, whatever a hook has made of HEAD since.
    git push --quiet -- "$remote" "$head:$target" ||
        fail "committed here, but $remote refused the push (git says why above)"
    say "$count files committed, $((unpushed + (count > 0))) commits pushed to $remote"
}

# Commit what was checked. Hooks run meanwhile and may change files: if the commit holds anything
# else, it stays here.
commit() {
    local tree parent=$head
    tree=$(git write-tree)
    git commit --quiet --message="$1" || fail "git could not commit (it says why above)"
    head=$(git rev-parse HEAD)
    [[ $(git rev-parse "$head^{tree}") == "$tree" ]] && is_child "$head" "$parent" && return
    git diff-tree -r -z --name-only --no-renames "$tree" "$head" | while IFS= read -r -d '' name; do
        say "changed by a hook: $(shown "$name")"
    done
    fail "a commit hook changed what was checked; nothing was pushed." \
        "Keep hooks from results/, then git reset --soft HEAD~1 and again"
}

# True if $2 is the only parent of $1; $2 is empty for the first commit of a repository.
is_child() { [[ $(git rev-list --parents -n 1 "$1") == "$1${2:+ $2}" ]]; }

main "$@"
