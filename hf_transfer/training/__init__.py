"""Training, from its beginning or from where it was stopped.

fitting      a fresh model on some rows: the whole of one training
job          what is asked for, and what comes out
loop         the epochs, phase by phase
epochs       the order of rows, effective batches and what they cost
stopping     early stopping by an inner split
pausing      when to keep where a training is
state        what of an optimizer and of the random generators decides how it goes on
checkpoint   that and the rest on the disk, whole or not at all
memory       running out of it
"""
