"""Search over steps: a tree per problem, grown by the engine, weighed by a value model."""
