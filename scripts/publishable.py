"""The check of files before they leave this machine or come to it: their kind, size and secrets.

    publishable.py MAX_BYTES files < names          the names, in the working directory
    publishable.py MAX_BYTES blobs WHERE < records  records of `git diff --raw -z`

Called by pull_artifacts.sh and commit_and_push.sh, with a zero byte after each name or record. Says
on standard error what is wrong with each file that must not go, and writes its name, with a zero
byte, to standard output. Needs Python alone, and git for blobs.
"""

import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

TEXT = (".csv", ".tsv", ".json", ".md", ".svg", ".log", ".yaml")
LINKS = {"120000": "a link", "160000": "a repository of its own"}  # by their modes in git
WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".gguf", ".h5", ".onnx", ".pkl", ".npy")
# The first bytes of safetensors (a length, then JSON), numpy, pickle, HDF5 and GGUF.
MODEL = re.compile(rb".{4}\0{4}\{|\x93NUMPY|\x80[\2-\5]|\x89HDF\r\n|GGUF", re.DOTALL)
# The arrays of eval.npz: <remap>/<length>/<what>, or one for all lengths; with the tasks of the
# probe <remap>/<length>/retrieval/<task>/<what>. Those of a model have names with dots, or end as
# its parameters do.
_PLACE = r"([^/]+/[0-9]+/(retrieval/([a-z]+/)?)?)?"
ARRAY = re.compile(_PLACE + r"(?!(weight|bias|kernel|embedding)s?\.)[a-z][a-z0-9_]*\.npy")
# Those of usage.npz (docs/protocol.md section 6).
USAGE = re.compile(
    r"((trained|stilled|slower)/(in_length|beyond)|norm/[qk]|attention/[0-9]+(/edges)?)\.npy"
)

# Kinds of secrets, from the formats that their issuers document. A key without a format of its own
# is found by the word that usually stands before it.
_FORMATS = {
    "a private key": rb"-----BEGIN [A-Z ]*PRIVATE KEY|\"private_key_id\"\s*:\s*\"[0-9a-f]{40}",
    "a Hugging Face token": rb"\b(?:hf_|api_org_)[A-Za-z0-9]{30}",
    "a W&B key": rb"(?i)\bwandb_v\d_\w{32}|wandb[^\0]{0,80}?\b[0-9a-f]{40}\b",
    "a GitHub or GitLab token": (
        rb"\bgh[pousr]_[A-Za-z0-9]{36}|\bgithub_pat_\w{50}|\bglpat-[\w-]{20}"
    ),
    "an AWS key": (
        rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|(?i:aws|secret_?access_?key)[\w.\"' -]{0,40}"
        rb"[=:>]{1,2}\s*[\"']?[A-Za-z0-9/+]{40}(?![\w/+=])"
    ),
    "a Google key": rb"\bAIza[\w-]{35}|\bGOCSPX-[\w-]{28}|\bya29\.[\w-]{20}",
    "an Azure key": (
        rb"(?i:AccountKey|SharedAccessKey)=[A-Za-z0-9/+]{43}|[?&]sig=[\w%/+-]{43}"
        rb"|\b[\w.~-]{3}\dQ~[\w.~-]{31}|\b\w{76}AZDO\w{4}\b"
        rb"|(?i:azure)[\w.\"' -]{0,40}(?i:key|secret|token)[\"' ]{0,2}[=:]\s*[\"']?[0-9a-f]{32}\b"
    ),
    "a Slack token or web hook": (
        rb"\bxox[abeoprs]-[\w-]{10}|\bxapp-\d-\w{10}|hooks\.slack\.com/\w+/[\w/+-]{20}"
    ),
    "an npm token": rb"\bnpm_[A-Za-z0-9]{36}|_authToken\s*=\s*[\w-]{16}",
    "a PyPI token": rb"\bpypi-[\w-]{50}",
    "a token of a language model's service": rb"(?<![\w-])sk-[\w-]{32}",
    "a password in a URL": (
        rb"(?i)\b[a-z][a-z0-9+.-]*://[^\s/:@\"'<>`]*:(?![$<{%*])[^\s/:@\"'<>`]+@[a-z0-9\[]"
    ),
    # Not where it is an argument of a Python function, as in the tests.
    "a password of the pull script": (
        rb"(?<!, )\b(?:A100_SSH_PASS|SSHPASS)[\"']?\s*[=:]\s*[\"']?[^\s\"'$]"
    ),
}
SECRETS = {kind: re.compile(pattern) for kind, pattern in _FORMATS.items()}


def main() -> None:
    most, kind, *where = sys.argv[1:]
    given = os.fsdecode(sys.stdin.buffer.read()).split("\0")[:-1]
    check = {"files": of_files, "blobs": of_blobs}[kind]
    for name, reasons in check(given, int(most)):
        if reasons:
            print(f"refused: {shown(name)}: {', '.join([*where, *reasons])}", file=sys.stderr)
            sys.stdout.buffer.write(os.fsencode(name) + b"\0")


def of_files(names: list[str], most: int) -> Iterator[tuple[str, list[str]]]:
    """Each file with the reasons why it must not come."""
    for name in names:
        with Path(name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            yield name, [*problems(name, size, file.read(most), most)]


def of_blobs(records: list[str], most: int) -> Iterator[tuple[str, list[str]]]:
    """Each blob of the records with the reasons why it must not leave; secrets are such too."""
    with subprocess.Popen(
        ["git", "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as git:
        for record, name in zip(records[::2], records[1::2], strict=True):
            _, mode, _, blob, _ = record.split()
            if mode in LINKS:
                yield name, [LINKS[mode]] if name.startswith("results/") else []
                continue
            git.stdin.write(f"{blob}\n".encode())
            git.stdin.flush()
            header = git.stdout.readline().split()
            if header[-1] == b"missing":
                yield name, ["cannot be read"]
                continue
            size = int(header[2])
            content = git.stdout.read(size + 1)[:-1]
            yield name, [*problems(name, size, content, most), *secrets(content)]


def problems(name: str, size: int, content: bytes, most: int) -> Iterator[str]:
    """The reasons why a file of that name and content must be neither published nor pulled."""
    suffix = Path(name).suffix.lower()
    if suffix in WEIGHTS:
        yield "weights or tokens, by its name"
    elif size > most:
        yield f"{size} bytes, over the limit of {most}"
    elif suffix in TEXT:
        if not is_text(content):
            yield "not the text that its name promises"
    elif suffix == ".npz":
        if not is_evaluation(content):
            yield "not the arrays of an evaluation"
    elif is_model(content):
        yield "weights or tokens, by its content"


def is_text(content: bytes) -> bool:
    """True for UTF-8 without a zero byte, which no model, archive or array of token ids is."""
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False


def is_evaluation(content: bytes) -> bool:
    """True for a zip of arrays with the names that an evaluation or usage.npz gives them."""
    try:
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False
    return all(ARRAY.fullmatch(name) or USAGE.fullmatch(name) for name in names)


def is_model(content: bytes) -> bool:
    """True for the formats of weights and tokens, and for a zip that holds a pickle or arrays."""
    if content.startswith(b"PK\3\4"):
        return b".pkl" in content or b".npy" in content
    return bool(MODEL.match(content))


def secrets(content: bytes) -> Iterator[str]:
    """The kinds of secrets that a file holds, each with the line of the first."""
    for kind, pattern in SECRETS.items():
        found = pattern.search(content)
        if found:
            line = content.count(b"\n", 0, found.start()) + 1
            yield f"holds a secret ({kind}, line {line})"


def shown(name: str) -> str:
    """A name as messages show it: control characters never reach the terminal."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in name
    )


if __name__ == "__main__":
    main()
