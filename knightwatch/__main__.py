"""``python -m knightwatch``: the same as the console script."""

from knightwatch.cli import main

if __name__ == "__main__":
    main()
