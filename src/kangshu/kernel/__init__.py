"""What every part may use: errors, texts, periods and the clock protocol; standard library only."""
