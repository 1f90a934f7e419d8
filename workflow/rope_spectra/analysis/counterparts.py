"""The study's experiments that our experiments repeat, by name.

Imports nothing heavy, because the Snakefile asks for it.
"""

COUNTERPARTS = {
    "unified_search": ("50m_unified_search_A", "50m_unified_search_B"),
    "unified_search_split_a": ("50m_unified_search_A",),
    "unified_search_split_b": ("50m_unified_search_B",),
    "unified_search_3cfg_3seed": ("50m_3cfg_3seed",),
    "ten_seeds": ("50m_2cfg_10seed",),
    "350m_final": ("350m_final",),
}
