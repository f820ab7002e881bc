"""The pages, one module for each subject; each module lists its routes."""
