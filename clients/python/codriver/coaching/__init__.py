"""What coaches, learners and simulators agree on: the words for driving, contexts, anchors, and the CLIP margin."""
