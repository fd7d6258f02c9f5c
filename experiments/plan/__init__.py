"""What a model would take on devices that are not at hand: predicted, never measured."""
