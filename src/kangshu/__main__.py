"""`python -m kangshu` is the command line."""

from kangshu.app.cli import main

main()
