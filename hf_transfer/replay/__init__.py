"""What the frozen layers put out, computed once and replayed for every fold, epoch and learning rate."""
