"""Results and spectra as Python objects, for notebooks: `import rope_spectra as rs`."""
