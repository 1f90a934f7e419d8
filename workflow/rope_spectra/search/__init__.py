"""The search over spectra: its space, what it minimizes, what it proposes next, how it went."""
