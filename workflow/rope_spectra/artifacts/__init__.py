"""What results/ holds and how it is kept true: paths, atomic files, seals, records, lineage."""
