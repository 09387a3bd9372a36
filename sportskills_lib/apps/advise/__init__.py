"""`sportskills advise`: which clips a learner should watch for what they do in a video."""
