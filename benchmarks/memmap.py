"""A large token cache under a small memory limit: checked, and read in batches from all over it.

    PYTHONPATH=workflow python benchmarks/memmap.py --gigabytes 4 --limit-mb 300

The process may hold so much private memory (RLIMIT_DATA) and no more; pages of the file are the
kernel's and can be dropped at any time. Prints how long the check of the whole file took and how
much private memory was in use at the end.
"""

import resource
import tempfile
import time
from pathlib import Path

import common
import numpy as np

from rope_spectra.data import cache as tokens

SEQ_LEN, BATCH_SIZE, BATCHES = 2048, 32, 500
PIECE = 10_000_000  # tokens


def private_bytes() -> int:
    """Anonymous memory of this process."""
    line = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("RssAnon")
    )
    return int(line.split()[1]) * 1024


def main() -> None:
    parser = common.parser(__doc__, "memmap")
    parser.add_argument(
        "--gigabytes", type=float, default=4.0, help="size of the cache (default: %(default)s)"
    )
    parser.add_argument(
        "--limit-mb", type=int, default=300, help="private memory allowed (default: %(default)s)"
    )
    args = parser.parse_args()
    count = int(args.gigabytes * 1e9) // 2
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "train.npy"
        # Nothing else of a manifest is asked for.
        manifest = tokens.Manifest.model_construct(tokens=count, sha256=write(cache, count))
        resource.setrlimit(resource.RLIMIT_DATA, (args.limit_mb * 2**20, args.limit_mb * 2**20))
        began = time.perf_counter()
        table = tokens.open_tokens(cache, manifest)[: count // SEQ_LEN * SEQ_LEN].reshape(
            -1, SEQ_LEN
        )
        checked = time.perf_counter()
        order = np.random.default_rng(0)
        total = sum(
            int(table[order.integers(0, len(table), BATCH_SIZE)].sum()) for _ in range(BATCHES)
        )
        drawn = time.perf_counter()
    results = {
        "check_s": checked - began,
        "batches_per_s": BATCHES / (drawn - checked),
        "private_bytes": private_bytes(),
        "sum": total,
    }
    print(common.in_words(results))
    print(common.publish("memmap", vars(args), results, args.output))


def write(path: Path, count: int) -> str:
    """A cache of so many tokens, in the form of memmap_cache; the SHA-256 of its tokens."""
    sizes = (min(PIECE, count - start) for start in range(0, count, PIECE))
    pieces = (np.random.default_rng(size).integers(0, 50_000, size).astype("<u2") for size in sizes)
    return tokens.write_cache(path, pieces, count)


if __name__ == "__main__":
    main()
