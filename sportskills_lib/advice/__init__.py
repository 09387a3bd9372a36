"""A learner's video in, a page of clips out: which clips of a run's library help with what this learner does?"""
