"""The diagnostics of an experiment's spectra as a table."""

import pandas as pd

from rope_spectra.config.design import Design
from rope_spectra.rope import diagnostics


def spectra_table(design: Design) -> pd.DataFrame:
    """A row per spectrum: its family and its diagnosis (diagnostics.diagnose)."""
    rows = []
    for spectrum in design.spectra:
        omega = spectrum.inv_freq(design.head_dim)
        lengths = {"train_length": design.train_length, "longest": design.longest}
        names = {"spectrum": spectrum.name, "family": spectrum.shape.family}
        rows.append(names | lengths | diagnostics.diagnose(omega, **lengths))
    # Missing where no distance has a negative mean cosine.
    return pd.DataFrame(rows).astype({"first_negative_distance": "Int64"})
