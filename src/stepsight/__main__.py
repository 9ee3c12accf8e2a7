"""`python -m stepsight` is the same as `stepsight`."""

from stepsight.cli import main

if __name__ == "__main__":
    main()
