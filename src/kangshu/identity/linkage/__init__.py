"""Whether two records are one person: comparisons, weights, models, and linking whole tables by them."""
