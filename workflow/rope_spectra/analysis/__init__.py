"""From finished runs to tables: statistics, paired comparisons, published numbers."""
