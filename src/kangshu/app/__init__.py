"""The composition root: settings, the pipeline, subscriptions, the worker, the command line."""
