"""One run on several processes: who they are, what they tell each other, and how they are started.

All of them hold the same data and parameters, draw the same batches, negatives and masks from
generators in the same state, and share what costs: the sums of a training step, and the users of an
evaluation. So a checkpoint is that of one process, and any number of them can go on from it.
"""
