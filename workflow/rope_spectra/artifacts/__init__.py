"""The files of results/ and how they are kept true: paths, atomic files, seals, tables."""
