"""What becomes of files that nobody on the project wrote: taken in for real, told in tables."""
