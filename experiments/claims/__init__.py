"""The paper's claims in miniature: each declared before it is run, one small file for each."""
