"""Tables of Chinese characters and surnames, made by scripts/hanzi_tables.py and by hand."""
