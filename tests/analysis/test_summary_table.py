"""Tables as files: what is written is what is read."""

from pathlib import Path

import pandas as pd
import pytest

from rope_spectra.artifacts.tables import read_csv, write_csv


@pytest.mark.parametrize("name", ["007", "nan", "NA", "1e5", "geo"])
def test_names_survive_the_file(tmp_path: Path, name: str) -> None:
    written = pd.DataFrame(
        {"experiment": [name], "spectrum": [name], "ppl_mean": [1 / 3], "ppl_std": [None]}
    )
    write_csv(tmp_path / "table.csv", written)
    found = read_csv(tmp_path / "table.csv")
    assert found["spectrum"].tolist() == [name]
    assert found["experiment"].tolist() == [name]
    assert found["ppl_mean"].tolist() == [0.3333333333]
    assert found["ppl_std"].isna().all()
