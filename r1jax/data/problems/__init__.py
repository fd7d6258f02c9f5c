"""Where problems come from: files, published layouts, generators, functions, and their mixture."""
