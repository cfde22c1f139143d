"""What the README and the pages under docs/ say is so: their commands and programs are run, their links and tables checked."""
