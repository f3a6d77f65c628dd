"""One module for each kind of file. Each has ``read(path, limits)``, which yields what it extracted."""
