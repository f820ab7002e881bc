"""Region packs: what a centre declares, as data; `base` is the built-in one."""
